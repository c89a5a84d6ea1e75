"""What needs the libraries of the trainer image: tokenizers and templates, configurations of models, weights, suites' schemas."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.mutated_files.kinds import Files, Kind, Wrong, scratch
from tests.mutated_files.of_data import SUITES
from tests.mutated_files.of_models import contents, known
from tests.support.model_folder import make_adapter
from tests.trainer.test_tokenizer_kinds import ONE, TWO, make_tokenizer
from tunegate_trainer.data.conversations import ChatTokenizer, ConversationProblem
from tunegate_trainer.endings import StageEnd
from tunegate_trainer.modules import read_architecture
from tunegate_trainer.sealing import write_weights

LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 16, "intermediate_size": 32,
    "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2, "vocab_size": 64, "rms_norm_eps": 1e-5,
    "max_position_embeddings": 128, "tie_word_embeddings": True, "torch_dtype": "float32", "hidden_act": "silu",
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
}  # fmt: skip


def _tokenizer(byte_level: bool) -> Files:
    with TemporaryDirectory() as place:
        folder = make_tokenizer(Path(place, "model"), byte_level=byte_level)
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 3]}))
        return contents(folder)


def read_tokenizer(folder: Path) -> str | None:
    """Load a tokenizer with its template as every stage does, and count the tokens of two conversations."""
    try:
        tokenizer = ChatTokenizer(folder)
        counts = tokenizer.count([ONE, TWO])
        if any(isinstance(count, int) and count <= 0 for count in counts):
            raise Wrong(f"{counts} tokens")
        if isinstance(counts[0], int) and len(tokenizer.encode(ONE).labels) != counts[0]:
            raise Wrong("another number of tokens than was counted")
        tokenizer.count_question(ONE)
    except ConversationProblem as problem:
        return f"row: {problem}"
    except StageEnd as refused:
        return known(refused)
    problems = [str(count) for count in counts if isinstance(count, ConversationProblem)]
    return f"row: {problems[0]}" if problems else None


def read_configuration(folder: Path) -> str | None:
    """Read the shapes of a model from its configuration."""
    try:
        found = read_architecture(folder)
    except StageEnd as refused:
        return known(refused)
    if not (found.parameters > 0 and found.layers >= 0 and found.hidden > 0 and found.vocabulary > 0):
        raise Wrong("a model without weights")
    return None


def _adapter() -> Files:
    with TemporaryDirectory() as place:
        files = dict(contents(make_adapter(Path(place, "adapter"))))
    # Numbers other than zero: an adapter of zeros is refused.
    name, (length,) = "adapter_model.safetensors", struct.unpack("<Q", files["adapter_model.safetensors"][:8])
    return {**files, name: files[name][: 8 + length] + files[name][8 + length :].replace(b"\0", b"\x3f")}


def read_weights(folder: Path) -> str | None:
    """Write an adapter's weights as sealing does."""
    try:
        found = write_weights(folder / "adapter_model.safetensors", scratch(folder) / "sealed.safetensors")
    except StageEnd as refused:
        return known(refused)
    return "; ".join(finding.message for finding in found) or None


KINDS = [
    Kind("tokenizer, SentencePiece", lambda: _tokenizer(False), read_tokenizer, r"base model: |row: ", one_file=True),
    Kind("tokenizer, bytes", lambda: _tokenizer(True), read_tokenizer, r"base model: |row: ", one_file=True),
    Kind(
        "model configuration",
        lambda: {"config.json": json.dumps(LLAMA).encode()},
        read_configuration,
        r"base model: ",
        one_file=True,
    ),
    Kind("adapter weights", _adapter, read_weights, r"adapter: ", one_file=True),
    SUITES,
]
