"""Every log line of ours has an event with its data as fields, and the documentation names them all."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest

from chores import log_events
from tunegate.gateway.logs import GatewayLines
from tunegate.logs import JsonLines, event, kinds

ROOT = Path(__file__).parents[2]
CALLS = log_events.calls()


def line(
    formatter: logging.Formatter, name: str, message: str, *arguments: object, **more: object
) -> dict[str, object]:
    extra = more.pop("extra", None)
    assert extra is None or isinstance(extra, dict)
    made = logging.getLogger(name).makeRecord(name, logging.INFO, "f", 7, message, arguments, None, extra=extra)
    read: dict[str, object] = json.loads(formatter.format(made), parse_constant=pytest.fail)
    return read


def test_every_call_names_an_event_in_camel_case() -> None:
    assert len(CALLS) > 60
    wrong = [call.place for call in CALLS if not re.fullmatch(r"([A-Z][a-z]+)+", call.event)]
    assert wrong == []


def test_every_argument_of_a_sentence_is_a_field_too() -> None:
    """So that nobody has to cut it out of the sentence."""
    fewer = [call.place for call in CALLS if len(re.findall("%[sdg]", call.message)) > len(call.fields)]
    assert fewer == []


@pytest.mark.parametrize(
    ("event_", "program"),
    [
        ("AdapterRefused", "adapters"),
        ("VolumeUnread", "volume"),
        ("AdapterJudged", "gateway"),
        ("LedgerChanged", "operator"),
    ],
)
def test_an_event_is_of_the_container_whose_log_has_it(event_: str, program: str) -> None:
    assert {call.program for call in CALLS if call.event == event_} == {program}


def test_the_page_lists_the_events_of_the_code() -> None:
    assert log_events.main(["--check"]) == 0


def test_events_that_operating_tells_of_exist() -> None:
    told = set(re.findall(r"log event `([A-Za-z]+)`", (ROOT / "docs/operate.md").read_text()))
    assert told
    assert told <= {call.event for call in CALLS}


def test_an_event_stands_in_the_line_with_its_fields() -> None:
    made = line(
        JsonLines(), "tunegate.x", "lost %s", "a", extra=event("ThingLost", thing="a", level=3, loss=float("nan"))
    )
    assert (made["event"], made["thing"], made["loss"], made["message"]) == ("ThingLost", "a", "nan", "lost a")
    assert made["level"] == "info", "a field never takes the place of what every line has"


def test_a_broken_character_can_be_written() -> None:
    text = JsonLines().format(logging.makeLogRecord({"msg": "name \udc80 and ü"}))
    assert json.loads(text.encode("utf-8"))["message"] == "name \udc80 and ü"


def test_of_loggers_of_others_the_gateway_names_only_the_place() -> None:
    assert line(GatewayLines(), "aiohttp.server", "Bearer %s", "secret")["message"] == "logged at f:7"
    assert line(GatewayLines(), "tunegate.gateway.tls", "a new certificate is in use")["message"].startswith("a new")  # type: ignore[attr-defined]


def test_an_error_is_named_with_its_causes_and_without_texts() -> None:
    try:
        try:
            raise KeyError("secret row")
        except KeyError as cause:
            raise ValueError("secret text") from cause
    except ValueError as error:
        text = kinds(error)
    assert re.fullmatch(r"ValueError at test_log_events\.py:\d+ \S+ from KeyError at test_log_events\.py:\d+ \S+", text)
