"""Makes a tiny model and its training data on a pod's volumes, offline, and prints the model's manifest.

Runs in the trainer image. The model knows nothing; what two pods and one do to it can be compared all the same.
"""

import hashlib
import json
import pathlib
import sys

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEMPLATE = (
    "{% for turn in messages %}<|im_start|>{{ turn.role }}\n{{ turn.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
folder, data = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
bytes_only = Tokenizer(models.BPE())
bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
bytes_only.decoder = decoders.ByteLevel()
alphabet = pre_tokenizers.ByteLevel.alphabet()
special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
bytes_only.train_from_iterator(
    [], trainers.BpeTrainer(vocab_size=259, special_tokens=special, initial_alphabet=alphabet)
)
tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytes_only, eos_token="<|im_end|>", pad_token="<|endoftext|>")
tokenizer.chat_template = TEMPLATE
torch.manual_seed(17)
config = LlamaConfig(
    vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
    eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
)  # fmt: skip
LlamaForCausalLM(config).save_pretrained(folder)
tokenizer.save_pretrained(folder)
rows = [
    {"messages": [{"role": "user", "content": f"{number}?"}, {"role": "assistant", "content": str(number % 3)}]}
    for number in range(64)
]
data.write_text("".join(json.dumps(row) + "\n" for row in rows))
files = [
    {"path": path.name, "size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    for path in sorted(folder.iterdir())
]
print(json.dumps({"files": files}))
