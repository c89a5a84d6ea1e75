"""A base model's tokenizer from its own files, for a machine without transformers: `tunegate plan`.

transformers reads `tokenizer.json` as it stands for the two classes of ``AS_IT_STANDS``, and makes the parts of the others
again from vocabulary and merges (5.19, ``TokenizersBackend.convert_to_native_format``). Templates are rendered as its
``_compile_jinja_template`` does: sandboxed, with the same settings, filters and functions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
from jinja2.nodes import Node, Scope
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tunegate_trainer import base_settings

FILE = "tokenizer.json"
NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""Tokens with a role, which a template may ask for."""
AS_IT_STANDS = frozenset({"TokenizersBackend", "PreTrainedTokenizerFast"})
SETTINGS = (base_settings.TOKENIZER, "special_tokens_map.json")


class FileTokenizer:
    """What ``ChatTokenizer`` needs of transformers' class, under the same names."""

    def __init__(self, folder: Path) -> None:
        """Raises what the libraries raise for files that they do not understand."""
        from tokenizers import Tokenizer

        self.chat_template = base_settings.chat_template(folder)
        told = _settings(folder)
        kept = str(told.get("tokenizer_class") or "TokenizersBackend")
        self.rebuilt_by_class = None if kept in AS_IT_STANDS else kept
        """The class that transformers makes parts of it by; None: it reads the file as it stands."""
        self.backend_tokenizer: Any = Tokenizer.from_file(str(folder / FILE))
        roles = {name: told[name] for name in NAMED if told.get(name) is not None}
        extra = told.get("extra_special_tokens") or told.get("additional_special_tokens") or []
        extra = list(extra.values() if isinstance(extra, dict) else extra)
        self.special_tokens_map = {name: _text(token) for name, token in roles.items()}
        self._extra = [_text(token) for token in extra]
        listed = told.get("added_tokens_decoder") or {}
        self._add_missing([*(listed[number] for number in sorted(listed, key=int)), *roles.values(), *extra])

    def _add_missing(self, named: Sequence[Any]) -> None:
        """Add tokens that only the settings name."""
        from tokenizers import AddedToken

        known = {token.content for token in self.added_tokens_decoder.values()}
        for token in named:
            if _text(token) in known:
                continue
            known.add(_text(token))
            settings = token if isinstance(token, dict) else {"content": token, "special": True}
            added = AddedToken(**{name: value for name, value in settings.items() if name != "__type"})
            special = added.special or _text(token) in self.all_special_tokens
            (self.backend_tokenizer.add_special_tokens if special else self.backend_tokenizer.add_tokens)([added])

    @property
    def all_special_tokens(self) -> list[str]:
        """Tokens with a role, and further ones that the settings call special."""
        return list(dict.fromkeys([*self.special_tokens_map.values(), *self._extra]))

    @property
    def added_tokens_decoder(self) -> dict[int, Any]:
        """Added tokens by number, each with ``content`` and ``special``."""
        return dict(self.backend_tokenizer.get_added_tokens_decoder())

    @property
    def eos_token_id(self) -> int | None:
        """The number of the token that ends a text."""
        name = self.special_tokens_map.get("eos_token")
        found: int | None = None if name is None else self.backend_tokenizer.token_to_id(name)
        return found

    def apply_chat_template(
        self, messages: Sequence[Any], *, tools: Sequence[Any] | None, tokenize: bool, add_generation_prompt: bool
    ) -> str:
        """Return the template's text. Raises jinja2's errors, and Python's own of operations on values."""
        if tokenize:
            raise ValueError("the text is what is asked for")
        return self._template.render(
            messages=messages, tools=tools, documents=None, add_generation_prompt=add_generation_prompt,
            **self.special_tokens_map,
        )  # fmt: skip

    def decode(self, tokens: list[int], *, skip_special_tokens: bool, clean_up_tokenization_spaces: bool) -> str:
        """Return the text of tokens."""
        if clean_up_tokenization_spaces:
            raise ValueError("spaces are kept")
        return str(self.backend_tokenizer.decode(tokens, skip_special_tokens=skip_special_tokens))

    @cached_property
    def _template(self) -> jinja2.Template:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = _now
        return environment.from_string(self.chat_template)


class Generation(jinja2.ext.Extension):
    """`{% generation %}` marks what an assistant says; its text stays as it is."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> Node:
        """Return what stands between the marks, with names of its own."""
        line = next(parser.stream).lineno
        return Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True)).set_lineno(line)


def _settings(folder: Path) -> dict[str, Any]:
    """Return the tokenizer's settings; what an older file beside them says counts where they are silent."""
    told: dict[str, Any] = {}
    for name in SETTINGS:
        found = json.loads((folder / name).read_bytes()) if (folder / name).exists() else {}
        told = {**found, **told}
    return told


def _text(token: Any) -> str:
    return str(token["content"] if isinstance(token, dict) else token)


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """Return JSON without the escapes of HTML that jinja2's own filter makes."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().strftime(form)
