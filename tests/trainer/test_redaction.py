"""Rows without what was found in them: every kind goes, wherever it stands, and what is left is still a row."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from tests.support.rows import row
from tests.trainer.test_privacy import FOUND, PROSE
from tunegate.api.datachecks import REDACTABLE, DataCheck
from tunegate_trainer.checks import privacy, redaction
from tunegate_trainer.checks.privacy import Recognizer, find, presidio_spans, recognizers, secret_patterns
from tunegate_trainer.checks.redaction import placeholder, redact
from tunegate_trainer.data.rows import Row

ALL: frozenset[DataCheck] = frozenset(REDACTABLE)
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nx7Jq==\n-----END RSA PRIVATE KEY-----"


def left(text: str, checks: frozenset[DataCheck] = ALL) -> str:
    return str(redact(row(1, text), checks)[0].messages[0]["content"])


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in FOUND.items() for text in texts])
def test_every_kind_gives_way_to_its_placeholder(kind: str, text: str) -> None:
    changed, replaced = redact(row(1, text), ALL)

    assert dict(replaced) == {placeholder(kind): 1}
    assert changed.messages[0]["content"].count(placeholder(kind)) == 1
    assert list(find("\n".join(changed.texts))) == []
    assert not set(re.findall(r"\d{2,}", text)) & set(re.findall(r"\d{2,}", changed.messages[0]["content"]))


@pytest.mark.parametrize("text", PROSE)
def test_prose_stays_as_it_is(text: str) -> None:
    assert redact(row(1, text), ALL) == (row(1, text), {})


def test_no_placeholder_is_itself_taken_for_something() -> None:
    kinds = [*(each.kind for each in recognizers()), *(kind for kind, _ in secret_patterns())]
    named = "NHS, SSN, PESEL, Medicare, license, tax, passport: "

    assert list(find(named + " ".join(map(placeholder, kinds)))) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"Use\n{KEY}\nhere", "Use\n<PRIVATE_KEY>\nhere"),
        (KEY.partition("-----END")[0], "<PRIVATE_KEY>"),
        (f"Authorization: Bearer {JWT}.", "Authorization: Bearer <JSON_WEB_TOKEN>."),
        ("//npm.example/:_authToken=npm_" + "a1B2" * 9, "//npm.example/:<NPM_TOKENS>"),
        ("https://bob:hunter2@host.example/x", "https://<BASIC_AUTH_CREDENTIALS>@host.example/x"),
        (f'aws_secret_access_key = "{"aB3/" * 10}"', 'aws_secret_access_key = "<AWS_ACCESS_KEY>"'),
    ],
)
def test_of_a_secret_all_goes_and_nothing_else(text: str, expected: str) -> None:
    assert left(text) == expected


def test_a_number_goes_from_all_turns_when_one_says_what_it_is() -> None:
    turns = ("What is your NHS number?", "943 476 5919", f"{'word ' * 30} I repeat: 943 476 5919", "Thank you")
    roles = ("user", "assistant") * 2
    talk = Row(1, tuple({"role": role, "content": turn} for role, turn in zip(roles, turns, strict=True)), {})

    changed, replaced = redact(talk, frozenset({"HealthData"}))

    assert [turn["content"][-19:] for turn in changed.messages[1:3]] == ["<UK_PATIENT_NUMBER>"] * 2
    assert replaced == {"<UK_PATIENT_NUMBER>": 2}


def test_a_value_within_a_longer_number_is_another_one() -> None:
    assert left("10.2.3.4 and 110.2.3.45678") == "<IP_ADDRESS> and 110.2.3.45678"


def test_only_what_the_given_checks_find_goes() -> None:
    text = "ada@example.org uses AKIAIOSFODNN7EXAMPLE"

    assert left(text, frozenset({"PersonalData"})) == "<EMAIL_ADDRESS> uses AKIAIOSFODNN7EXAMPLE"
    assert left(text, frozenset({"Secrets"})) == "ada@example.org uses <AWS_ACCESS_KEY>"


def test_an_answer_that_is_json_stays_json() -> None:
    answer = json.dumps({"to": "Ada\nada@example.org", "ids": ["10.2.3.4"], "count": 2})

    changed = json.loads(left(answer))

    assert changed == {"to": "Ada\n<EMAIL_ADDRESS>", "ids": ["<IP_ADDRESS>"], "count": 2}


def test_a_bare_number_in_json_stays_and_is_found_again() -> None:
    answer = json.dumps({"phone": 2125550173})

    changed, replaced = redact(row(1, answer), ALL)

    assert (changed, replaced) == (row(1, answer), {})
    assert ("PersonalData", "phone number") in set(find(answer))


def test_tools_calls_and_their_answers_are_redacted_alike() -> None:
    call: dict[str, Any] = {
        "id": "ada@example.org", "function": {"name": "mail", "arguments": '{"text": "x\\nada@example.org"}'},
    }  # fmt: skip
    turns = (
        {"role": "user", "content": "Write to ada@example.org"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "sent", "tool_call_id": "ada@example.org"},
        {"role": "assistant", "content": "done"},
    )
    tool = {"type": "function", "function": {"name": "mail", "description": "Ask ada@example.org"}}

    changed, replaced = redact(Row(1, turns, {}, (tool,)), ALL)

    made = changed.messages[1]["tool_calls"][0]
    assert made["id"] == changed.messages[2]["tool_call_id"] == "<EMAIL_ADDRESS>"
    assert json.loads(made["function"]["arguments"]) == {"text": "x\n<EMAIL_ADDRESS>"}
    assert changed.tools[0]["function"]["description"] == "Ask <EMAIL_ADDRESS>"
    assert replaced == {"<EMAIL_ADDRESS>": 5}
    assert list(find("\n".join(changed.texts))) == []


def test_a_row_of_many_addresses_takes_no_longer_than_its_length() -> None:
    text = " ".join(f"person{number}@example.org" for number in range(4000))
    left("warm up")
    start = time.process_time()

    assert left(text) == " ".join(["<EMAIL_ADDRESS>"] * 4000)
    assert time.process_time() - start < 10


def test_a_row_in_which_a_search_gives_up_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    recognizers()
    from presidio_analyzer import Pattern, PatternRecognizer, pattern_recognizer

    monkeypatch.setattr(pattern_recognizer, "REGEX_TIMEOUT_SECONDS", 0.2)
    endless = PatternRecognizer("ENDLESS", patterns=[Pattern("endless", "(?:a|a)+$", 0.5)])
    search = Recognizer("HealthData", "endless number", re.compile("a"), presidio_spans(endless), None)
    for module in (privacy, redaction):
        monkeypatch.setattr(module, "recognizers", lambda: (search,))

    assert redact(row(1, "a" * 40 + "b"), ALL) == (row(1, "a" * 40 + "b"), {})
    assert left("a" * 40) == "<ENDLESS_NUMBER>"
