"""A task's JSON Schema, compiled: whether it is one, and whether an answer is valid under it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NoReturn

from tunegate_trainer.data.strict_json import NotJson, parse_json
from tunegate_trainer.endings import BadInput


def compile_schema(text: str) -> Callable[[str], bool]:
    """Return what tells whether an answer is JSON and valid. Raises ``BadInput`` for a schema that is none."""
    import fastjsonschema

    handlers = dict.fromkeys(("http", "https", "ftp", "file"), _refuse_reference)
    try:
        validate = fastjsonschema.compile(json.loads(text), handlers=handlers)
    except BadInput:
        raise
    except MemoryError:
        raise
    except Exception as error:  # the compiler takes a schema's parts as they are, and fails in as many ways
        reason = (
            str(error)[:200]
            if isinstance(error, fastjsonschema.JsonSchemaDefinitionException)
            else type(error).__name__
        )
        raise BadInput(f"task.jsonSchema: not a JSON Schema ({reason})") from error

    def valid(answer: str) -> bool:
        try:
            validate(parse_json(answer))
        except (NotJson, fastjsonschema.JsonSchemaValueException):
            return False
        except (ArithmeticError, RecursionError):
            # The answer is a model's: a number of 400 digits, or deeper than the schema's references can follow.
            return False
        return True

    return valid


def _refuse_reference(_uri: str) -> NoReturn:
    raise BadInput("task.jsonSchema: a $ref to another document; only parts of the schema itself may be referred to")
