"""Log lines are JSON and say which object and which reconcile they belong to."""

from __future__ import annotations

import json
import logging
import sys

from tunegate.controllers.context import reconciling
from tunegate.runtime.logs import OperatorLines


def formatted(message: str, **extra: object) -> dict[str, object]:
    record = logging.getLogger("x").makeRecord("x", logging.INFO, "f", 1, message, (), None, extra=extra)
    line: dict[str, object] = json.loads(OperatorLines().format(record))
    return line


def test_a_line_outside_a_reconcile_has_time_level_and_message() -> None:
    line = formatted("two\nlines")

    assert ("info", "two\nlines", "x") == (line["level"], line["message"], line["logger"])
    assert {"time", "level", "logger", "message"} == set(line)


def test_a_line_of_a_reconcile_carries_the_object_and_one_id() -> None:
    with reconciling("C", "FineTuneJob", "team", "job"):
        first, second = formatted("a"), formatted("b")
    with reconciling("C", "BaseModel", "", "base"):
        third = formatted("c")

    assert {"kind": "FineTuneJob", "namespace": "team", "name": "job"} == first["object"]
    assert {"kind": "BaseModel", "name": "base"} == third["object"]
    assert first["reconcile"] == second["reconcile"] != third["reconcile"]


def test_a_line_of_kopf_carries_its_object_in_the_same_form() -> None:
    line = formatted("x", k8s_ref={"kind": "Pod", "namespace": "team", "name": "p", "uid": "u", "apiVersion": "v1"})

    assert {"kind": "Pod", "namespace": "team", "name": "p", "uid": "u"} == line["object"]


def test_an_error_keeps_its_traceback_on_the_one_line() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        record = logging.getLogger("x").makeRecord("x", logging.ERROR, "f", 1, "m", (), sys.exc_info())
    text = OperatorLines().format(record)

    assert "\n" not in text
    assert "ValueError: broken" in json.loads(text)["error"]
