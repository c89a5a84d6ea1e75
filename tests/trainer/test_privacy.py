"""Personal data, health identifiers and secrets: each kind is found, what only looks like it is not, no text comes out.

All numbers are the published examples of their issuers or made to satisfy the checksum; none belongs to anybody.
"""

from __future__ import annotations

import socket

import pytest

from tunegate_trainer.checks.privacy import find

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


def test_nothing_is_asked_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a recognizer asked the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)

    assert [kind for _, kind in find("new.person@some-company.museum")] == ["e-mail address"]
