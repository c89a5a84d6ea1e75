"""Personal data, health identifiers and secrets: each kind is found, what only looks like it is not, no text comes out.

All numbers are the published examples of their issuers or made to satisfy the checksum; none belongs to anybody.
"""

from __future__ import annotations

import base64
import logging
import random
import re
import socket
import subprocess
import sys
import time

import pytest

from tunegate_trainer.checks import emails, privacy
from tunegate_trainer.checks.emails import email_spans
from tunegate_trainer.checks.privacy import Recognizer, find, phone_spans, presidio_spans, recognizers, worth_a_look

FOUND = {
    "e-mail address": ["Write to ada.lovelace@example.org today", "<bob+list@mail.example.co.uk>"],
    "phone number": ["Call +1 212-555-0173 now", "Tel. +49 30 901820", "(202) 456-1111"],
    "card number": ["Paid with 4111 1111 1111 1111.", "amex 378282246310005"],
    "IBAN": ["to DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432"],
    "IP address": ["from 10.2.3.4 at noon", "host 2001:db8:85a3::8a2e:370:7334 answered"],
    "US social security number": ["his SSN is 536-90-4399"],
    "UK national insurance number": ["national insurance AB 12 34 56 C"],
    "German tax number": ["Steuer-ID 86095742719"],
    "Italian tax code": ["RSSMRA85T10A562S"],
    "Polish identity number": ["PESEL 44051401359"],
    "UK patient number": ["NHS number 943 476 5919"],
    "US Medicare number": ["Medicare 1EG4-TE5-MK73"],
    "AWS Access Key": ["key AKIAIOSFODNN7EXAMPLE"],
    "GitHub Token": ["ghp_" + "a1B2" * 9],
    "Hugging Face token": ["hf_" + "abCD" * 9],
    "Private Key": ["-----BEGIN RSA PRIVATE KEY-----"],
    "JSON Web Token": ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"],
    "Slack Token": ["xoxb-1234567890-abcdefghij"],
}
PROSE = [
    "Licensed under the Apache License, Version 2.0 (the APACHELICENSE); see section 4.2.1 of RFC 2119.",
    "Copyright 1999-2004 The Example Foundation. All rights reserved, 12 Main Street, Springfield.",
    "Order 86095742719 was shipped on 2024-05-17 at 10:45:03 in 3 parcels of 12.5 kg each.",
    "The function f@x applies g to 1.2.3 and returns a::b; the sum is 44051401359.",
    "ISBN 978-3-16-148410-0, version 10.15.7-rc2, commit 4f2a9be, price 1,234,567.89.",
    "task-sk-based systems; the AC adapter; hf_hub_download(repo_id)",
]


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in FOUND.items() for text in texts])
def test_every_kind_is_found(kind: str, text: str) -> None:
    assert kind in {found for _, found in find(text)}


@pytest.mark.parametrize("text", PROSE)
def test_what_only_looks_like_it_is_not(text: str) -> None:
    assert list(find(text)) == []


def test_a_number_without_a_word_that_names_it_is_only_a_number() -> None:
    for text in ("The sample 943 476 5919 was taken", f"NHS. {'word ' * 30} 943 476 5919"):
        assert "HealthData" not in {check for check, _ in find(text)}


def test_a_web_token_and_a_registry_token_are_found_where_they_are_used() -> None:
    for text, kind in (
        ("Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "JSON Web Token"),
        ("?token=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "JSON Web Token"),
        ("//registry.npmjs.org/:_authToken=npm_" + "a1B2" * 9, "NPM tokens"),
    ):
        assert ("Secrets", kind) in set(find(text))


@pytest.mark.parametrize(
    "text",
    [
        "a." * 16_000 + "@",
        base64.b64encode(bytes(range(256)) * 96).decode(),
        "@a.b" * 8_000,
        "a@" + "b-" * 16_000,
        "//" * 16_000 + "_" * 20,
        "eyJ" * 10_000,
    ],
    ids=["dots", "base64", "ats", "hyphens", "slashes", "tokens"],
)
def test_long_texts_take_no_longer_than_their_length(text: str) -> None:
    list(find("warm up"))
    start = time.perf_counter()

    found = list(find(f"{text} ada@example.org"))

    assert ("PersonalData", "e-mail address") in found
    assert time.perf_counter() - start < 2


def test_an_address_at_the_end_of_a_long_run_is_found() -> None:
    assert list(email_spans("x" * 32_000 + "@example.org")) == [(32_000 - 64, 32_000 + 12)]


@pytest.mark.parametrize(
    "text", ["a.@example.org", "@example.org", "a@example", "a@corp.local", "a@-example.org", "a @b.org"]
)
def test_what_has_an_at_sign_and_is_no_address(text: str) -> None:
    assert not list(email_spans(text))


PLAIN_LOOKS = {
    "phone number": r"(?:\d[ ().\-/]{0,3}){6}\d",
    "IBAN": r"\b[A-Z]{2}\d\d",
    "IP address": r"\d\.\d{1,3}\.\d{1,3}\.\d|(?:[0-9a-fA-F]{1,4}:){2}",
    "UK national insurance number": r"\b[A-Za-z]{2} ?\d\d",
    "Spanish identity number": r"\d{7}",
    "Italian tax code": r"[A-Za-z]{6}\d\d[A-Za-z]\d\d",
    "Polish identity number": r"\d{11}",
    "US Medicare number": r"\b[1-9][A-Za-z]",
    "US medical license": r"\b[A-Za-z]{2}\d{7}\b",
    "e-mail address": "@",
}
"""The quick looks as one would write them, without a thought for speed."""


@pytest.mark.parametrize("kind", PLAIN_LOOKS)
def test_quick_looks_rule_out_what_their_plain_form_rules_out_and_no_more(kind: str) -> None:
    quick = next(each.quick for each in recognizers() if each.kind == kind)
    chance = random.Random(3)  # noqa: S311 - the same texts in every run
    pieces = [
        "7",
        "12",
        "345",
        "1234567",
        "\u0664\u0665",
        "AB",
        "x",
        "Ab",
        "abcdef",
        " ",
        ".",
        "-",
        ":",
        "::",
        "@",
        "\n",
        " of ",
    ]
    answers = set()
    for _ in range(3000):
        text = "".join(chance.choices(pieces, k=9))
        found = re.search(PLAIN_LOOKS[kind], text) is not None
        answers.add(found)
        assert (quick.search(text) is not None) == found, text
        assert not found or quick.search(worth_a_look(text)), text

    assert answers == {True, False}


def test_phone_numbers_are_those_that_presidio_finds() -> None:
    from presidio_analyzer.predefined_recognizers import PhoneRecognizer

    for text in (
        "Tel. +49 30 901820 or (202) 456-1111",
        "card 4111 1111 1111 1111",
        "+44 20 7946 0018",
        "id 2124561234",
    ):
        theirs = PhoneRecognizer().analyze(text, ["PHONE_NUMBER"])
        assert set(phone_spans(text)) == {(one.start, one.end) for one in theirs}


def test_a_search_that_gives_up_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The pattern takes exponential time; presidio itself would say that there is nothing."""
    recognizers()
    from presidio_analyzer import Pattern, PatternRecognizer, pattern_recognizer

    monkeypatch.setattr(pattern_recognizer, "REGEX_TIMEOUT_SECONDS", 0.2)
    endless = PatternRecognizer("ENDLESS", patterns=[Pattern("endless", "(?:a|a)+$", 0.5)])
    search = Recognizer("HealthData", "endless number", re.compile("1"), presidio_spans(endless), None)
    monkeypatch.setattr(privacy, "recognizers", lambda: (search,))

    assert list(find("1" + "a" * 40 + "b")) == [("HealthData", "endless number perhaps, the search took too long")]
    assert list(find("1" + "a" * 40)) == [("HealthData", "endless number")]
    assert caplog.text == ""


def test_presidio_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It quotes a text whose checksum it cannot reckon."""
    recognizers()

    logging.getLogger("presidio-analyzer").error("Failed to validate text %s", "DE89")

    assert caplog.text == ""


def test_nothing_is_asked_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a recognizer asked the network")

    for kept in (recognizers, emails._suffixes, emails._is_registered):
        kept.cache_clear()
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)

    assert [kind for _, kind in find("new.person@some-company.museum")] == ["e-mail address"]


def test_recognizers_load_no_language_model_library_and_leave_presidio_whole() -> None:
    """spaCy is 150 MB that `tunegate plan` does without."""
    program = (
        f"import sys; sys.path[:] = {sys.path!r}; from tunegate_trainer.checks.privacy import find, recognizers; recognizers(); "
        "assert not {'spacy', 'torch', 'transformers', 'presidio_analyzer'} & sys.modules.keys(); "
        "print(*find('Card 4111 1111 1111 1111')); import presidio_analyzer; print(presidio_analyzer.AnalyzerEngine.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "('PersonalData', 'card number')" in done.stdout
    assert done.stdout.endswith("AnalyzerEngine\n")
