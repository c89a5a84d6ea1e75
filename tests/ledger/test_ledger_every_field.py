"""Every field of a record of every type, altered one by one: each is found, whether the forger knows how to hash or not.

Where the forger makes all hashes, numbers and names fit again, only the public key and the anchors can tell.
"""

from __future__ import annotations

import asyncio
import copy
import json
from typing import get_args

import pytest

from tests.support.alterations import altered, at, places
from tests.support.every_record import ledger_of_every_type
from tests.support.ledgers import Json, new_key
from tunegate.api.auditrecord import EventType
from tunegate.digests import canonical
from tunegate.ledger import chain
from tunegate.ledger.comparison import Anchor
from tunegate.ledger.seal import SEALS, read_seal
from tunegate.ledger.verify import verify

KEY, FOLLOWING = new_key(), new_key()
Ledger = tuple[list[Json], list[Anchor]]


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return asyncio.run(ledger_of_every_type(KEY, FOLLOWING))


def refitted(records: list[Json], start: int) -> list[Json] | None:
    """Return the ledger with number, name, label, link and hash of all from ``start`` on made to fit; None: they cannot."""
    made = [*records[:start], *copy.deepcopy(records[start:])]
    try:
        for index in range(start, len(made)):
            spec = made[index]["spec"]
            name = chain.record_name(index + 1)
            made[index]["metadata"] = {"name": name, "labels": {chain.SUBJECT_LABEL: spec["subject"]["uid"]}}
            previous = made[index - 1]["spec"]["hash"] if index else chain.GENESIS
            spec |= {"sequence": index + 1, "previousHash": previous}
            spec["hash"] = chain.content_hash(spec)
    except (KeyError, TypeError, ValueError):
        return None
    return made


def is_found(records: list[Json], anchors: list[Anchor], changed: int) -> bool:
    """Tell whether it is found, and nothing from the record on that was changed is called proven."""
    report = verify(records, keys=[FOLLOWING.public], anchors=anchors)
    return bool(report.problems) and (report.proven is None or report.proven.sequence <= changed)


def test_ledger_holds_every_type_and_is_whole(ledger: Ledger) -> None:
    records, anchors = ledger
    assert {one["spec"]["type"] for one in records} == set(get_args(EventType))
    for key in (KEY, FOLLOWING):
        report = verify(records, keys=[key.public], anchors=anchors)
        assert (report.problems, report.unsigned, len(report.epochs)) == ((), 0, 1)


@pytest.mark.attack(29, 38)
@pytest.mark.parametrize("type_", get_args(EventType))
def test_every_field_of_a_record_that_is_altered_is_found(type_: EventType, ledger: Ledger) -> None:
    records, anchors = ledger
    index = next(at for at, one in enumerate(records) if one["spec"]["type"] == type_)
    fields, tried = set(), 0
    for path, record in altered(records[index]):
        plain = [*records[:index], record, *records[index + 1 :]]
        fitted = refitted(plain, index)
        for made in (plain, fitted):
            if made is None or (made == records and made is fitted):
                continue  # What the forger altered, they have put right again.
            tried += 1
            assert is_found(made, anchors, index), f"{path}: {at(record, path[:-1])}"
        fields.add(path)
    assert fields == set(places(records[index]))
    assert tried > 200


@pytest.mark.attack(29)
@pytest.mark.parametrize("type_", SEALS)
def test_every_field_of_a_signed_statement_that_is_altered_is_found(type_: str, ledger: Ledger) -> None:
    """Of the statement within the envelope, and of the envelope around it; all hashes are made to fit."""
    records, anchors = ledger
    index = next(at for at, one in enumerate(records) if one["spec"]["type"] == type_)
    for field in ("envelope", "anchor") if type_ == "EpochStarted" else ("envelope",):
        sealed = read_seal(records[index]["spec"]["payload"][field])
        within = [(path, resealed(sealed.text, said)) for path, said in altered(dict(sealed.content))]
        around = [(path, canonical(one).decode()) for path, one in altered(json.loads(sealed.text))]
        assert len(within) > 20
        # A 25.0 is written as 25: nothing was altered.
        for path, text in ((path, text) for path, text in (*within, *around) if text != sealed.text):
            made = copy.deepcopy(records)
            made[index]["spec"]["payload"][field] = text
            fitted = refitted(made, index)
            assert fitted is not None
            assert is_found(fitted, anchors, index), (field, path)


def resealed(text: str, said: Json) -> str:
    """Return an envelope with another statement under the old signatures."""
    envelope = read_seal(text).envelope
    envelope.payload = canonical(said)
    return canonical(envelope.to_dict()).decode()
