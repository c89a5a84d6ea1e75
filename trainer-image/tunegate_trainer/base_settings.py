"""What a base model's folder says about conversations: the chat template and the tokens at which generation stops.

One rule for admission, training and evaluation, and it is the engine's (vLLM 0.32): the tokenizer's template, and the stop tokens of
generation_config.json, else those of config.json. Read without the libraries, which take seconds to load.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tunegate.regular_files import read_regular
from tunegate_trainer.endings import BadInput

TEMPLATE, OTHER_TEMPLATE, TOKENIZER = "chat_template.jinja", "chat_template.json", "tokenizer_config.json"
GENERATION, CONFIGURATION = "generation_config.json", "config.json"


def chat_template(folder: Path) -> str:
    """Return the template's text. Raises ``BadInput`` when there is none, or another one than all readers take."""
    told = _read(folder / TOKENIZER).get("chat_template")
    if (folder / TEMPLATE).exists():
        template: Any = _content(folder / TEMPLATE).decode("utf-8", "replace")
    elif isinstance(told, list):
        raise BadInput(f"base model: {TOKENIZER} has several chat templates: keep the one to use, in {TEMPLATE}")
    else:
        template = told
    other = _read(folder / OTHER_TEMPLATE).get("chat_template")
    if not isinstance(template, str) or not template.strip():
        hint = f"; {OTHER_TEMPLATE} is read by processors of images only: put its text into {TEMPLATE}" if other else ""
        raise BadInput(
            f"base model: no chat template ({TEMPLATE}, or chat_template in {TOKENIZER}): not a chat model{hint}"
        )
    if other is not None and other != template:
        raise BadInput(f"base model: {OTHER_TEMPLATE} has another chat template than the tokenizer: keep one of them")
    return template


def stop_tokens(folder: Path) -> set[int]:
    """Return the tokens, beside the tokenizer's end of text, at which the engine stops. Raises ``BadInput``."""
    name = GENERATION if (folder / GENERATION).exists() else CONFIGURATION
    settings = _read(folder / name)
    named = settings.get("eos_token_id")
    if named is None and name == CONFIGURATION and isinstance(inner := settings.get("text_config"), dict):
        named = inner.get("eos_token_id")
    listed = named if isinstance(named, list) else [] if named is None else [named]
    if any(isinstance(token, bool) or not isinstance(token, int) for token in listed):
        raise BadInput(f"base model: eos_token_id in {name} is neither a token's number nor a list of them")
    return set(listed)


def _read(file: Path) -> dict[str, Any]:
    """Return the object of a file, an empty one where there is no file. Raises ``BadInput``."""
    try:
        settings = json.loads(_content(file)) if file.exists() else {}
    except (ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict):
        raise BadInput(f"base model: {file.name} is not a JSON object")
    return settings


def _content(file: Path) -> bytes:
    try:
        return read_regular(file)
    except OSError as error:
        raise BadInput(f"base model: {file.name} cannot be read ({error.strerror})") from error
