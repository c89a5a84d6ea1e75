"""Over a thousand random changes of an exported ledger: each is found with the public key and one anchor.

The seed is fixed. A change that leaves the meaning of the JSON as it was is drawn again. Wherever a report comes out, it
must not call anything proven that lies behind the first changed record.
"""

from __future__ import annotations

import asyncio
import copy
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from tests.support.every_record import ledger_of_every_type
from tests.support.ledgers import Json, anchor_of, new_key
from tunegate.cli.audit.files import records
from tunegate.cli.failure import CommandFailure
from tunegate.digests import canonical
from tunegate.keys import SigningKey
from tunegate.ledger import chain
from tunegate.ledger.comparison import Anchor
from tunegate.ledger.seal import SEALS, read_seal, seal
from tunegate.ledger.verify import Report, verify

EACH = 80
"""Changes of each of the kinds below."""
CURVE_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256: (r, n - s) is a valid signature too, which anybody can make of (r, s)."""
KEY, FOLLOWING, FORGER = new_key(), new_key(), new_key()
Lines = list[str]


@pytest.fixture(scope="module")
def ledger() -> list[Json]:
    """A record of every type, two checkpoints, a new epoch and a rotation."""
    records, _ = asyncio.run(ledger_of_every_type(KEY, FOLLOWING))
    return records


def text_of(made: list[Json]) -> Lines:
    return [json.dumps(one) for one in made]


def leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the paths of everything in an object: leaves and the objects that hold them."""
    if not isinstance(value, dict):
        return [path]
    return [*([path] if path else []), *(leaf for key in value for leaf in leaves(value[key], (*path, key)))]


def parent_of(one: Json, path: tuple[str, ...]) -> Json:
    for key in path[:-1]:
        one = one[key]
    return one


def other_text(random: Random, text: str) -> str:
    at = random.randrange(len(text) + 1)
    return random.choice([
        text[:at] + random.choice("aZ0-_ \u200b\u0430") + text[at:], text[:at] + text[at + 1 :], text.upper(), text[::-1], "",
        unicodedata.normalize("NFD", text), unicodedata.normalize("NFKC", text), text + "\x00", text + "\ud800",
    ])  # fmt: skip


def other_value(random: Random, value: Any) -> Any:
    """Return something else for a field: other text, another number, another type."""
    types = [None, True, False, 0, 1, -1, 2**60, 1.5, [], {}, [value], {"a": value}, str(value)]
    if isinstance(value, str) and random.random() < 0.7:
        return other_text(random, value)
    if isinstance(value, int) and random.random() < 0.7:
        return random.choice([value + 1, value - 1, float(value), str(value), -value, value * 10])
    return random.choice(types)


def edited(random: Random, made: list[Json]) -> int:
    """Change, add or take away one field anywhere in one record; return its index."""
    index = random.randrange(len(made))
    path = random.choice(leaves(made[index]))
    holder = parent_of(made[index], path)
    match random.randrange(5):
        case 0:
            del holder[path[-1]]
        case 1:
            holder[random.choice(["note", "Actor", "actor ", "hash2"])] = random.choice(["x", 1, None])
        case 2:
            there = parent_of_or_none(random.choice(made), path)
            holder[path[-1]] = copy.deepcopy(there) if there is not None else "x"
        case _:
            holder[path[-1]] = other_value(random, holder[path[-1]])
    return index


def parent_of_or_none(one: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(one, dict) or key not in one:
            return None
        one = one[key]
    return one


def rechain(made: list[Json], start: int) -> None:
    """Number, name, link and hash from ``start`` on anew, as somebody who knows how would."""
    for index in range(start, len(made)):
        spec = made[index]["spec"]
        spec["sequence"] = index + 1
        made[index]["metadata"]["name"] = chain.record_name(index + 1)
        spec["previousHash"] = made[index - 1]["spec"]["hash"] if index else chain.GENESIS
        spec["hash"] = chain.content_hash(spec)


def field(random: Random, made: list[Json]) -> Lines:
    edited(random, made)
    return text_of(made)


def dropped(random: Random, made: list[Json]) -> Lines:
    index = random.randrange(len(made))
    del made[index]
    if random.random() < 0.5:
        rechain(made, index)
    return text_of(made)


def swapped(random: Random, made: list[Json]) -> Lines:
    one, two = sorted(random.sample(range(len(made)), 2))
    made[one], made[two] = made[two], made[one]
    if random.random() < 0.5:
        rechain(made, one)
    return text_of(made)


def doubled(random: Random, made: list[Json]) -> Lines:
    index = random.randrange(len(made))
    at = random.randrange(len(made) + 1)
    made.insert(at, copy.deepcopy(made[index]))
    if random.random() < 0.5 and at < len(made) - 1:
        rechain(made, at)
    return text_of(made)


def cut(random: Random, made: list[Json]) -> Lines:
    return text_of(made[: random.randrange(len(made))])


def head_replaced(random: Random, made: list[Json]) -> Lines:
    spec = made[-1]["spec"]
    field = random.choice(["actor", "time", "type", "payload", "eventId", "subject"])
    spec[field] = {
        "actor": "eve", "time": "2027-01-01T00:00:00Z", "type": "ReleaseApproved", "payload": {"envelope": "x"},
        "eventId": made[0]["spec"]["hash"], "subject": made[0]["spec"]["subject"],
    }[field]  # fmt: skip
    made[-1]["metadata"]["labels"][chain.SUBJECT_LABEL] = spec["subject"]["uid"]
    rechain(made, len(made) - 1)
    return text_of(made)


def made_anew(random: Random, made: list[Json]) -> Lines:
    """Edit one record, give all that follow valid hashes, and keep, drop or forge the signatures behind it."""
    index = random.randrange(len(made))
    spec = made[index]["spec"]
    how = random.randrange(4)
    if spec["type"] in SEALS or how == 0:
        spec["actor"] = "eve"
    elif how == 1:
        spec["payload"]["role"] = "legal"
    elif how == 2:
        spec["time"] = made[max(index - 1, 0)]["spec"]["time"]
        spec["payload"]["x"] = "y"
    else:
        spec["type"] = "ReleaseApproved"
    match random.randrange(3):
        case 1:
            made[index + 1 :] = [one for one in made[index + 1 :] if one["spec"]["type"] not in SEALS]
        case 2:
            for one in made[index:]:
                one["spec"]["payload"].update(forged(one, made))
    rechain(made, index)
    return text_of(made)


def forged(one: Json, made: list[Json]) -> dict[str, str]:
    """Return what a forger with a key of his own would put into a signed record."""
    if one["spec"]["type"] not in SEALS:
        return {}
    spec = one["spec"]
    before = made[spec["sequence"] - 2]["spec"]
    content = {
        "ledgerId": made[0]["spec"]["hash"][7:39], "size": before["sequence"], "head": before["hash"], "ts": spec["time"],
    }  # fmt: skip
    return {"envelope": seal(content, [FORGER]), "publicKey": FORGER.public.pem}


def statement(random: Random, made: list[Json]) -> Lines:
    """Change something within a signed statement or its envelope, with valid hashes around it."""
    index = random.choice([at for at, one in enumerate(made) if one["spec"]["type"] in SEALS])
    payload = made[index]["spec"]["payload"]
    envelope = read_seal(payload["envelope"]).envelope
    document = envelope.to_dict()
    content = json.loads(envelope.payload)
    first = document["signatures"][0]
    match random.randrange(9):
        case 0:
            content["size"] += random.choice([-1, 1, 10])
        case 1:
            content["head"] = made[random.randrange(len(made))]["spec"]["previousHash"]
        case 2:
            content["ts"] = "2026-11-24T11:00:00Z"
        case 3:
            content["ledgerId"] = "0" * 32
        case 4:
            first["sig"] = other_text(random, first["sig"]).replace("\ud800", "x")
        case 5:
            first["keyid"] = random.choice(
                [FORGER.public.id, other_text(random, first["keyid"]).replace("\ud800", "x")]
            )
        case 6:
            document["payloadType"] += "2"
        case 7:
            first["sig"] = twin(first["sig"])
        case _:
            payload["publicKey"] = random.choice([FORGER.public.pem, KEY.public.pem + "\n", "x"])
    changed = canonical(content)
    if changed != envelope.payload:
        envelope.payload = changed
        document["payload"] = envelope.to_dict()["payload"]
    payload["envelope"] = canonical(document).decode()
    if random.random() < 0.7:
        rechain(made, index)
    return text_of(made)


def twin(signature: str) -> str:
    """Return the other valid signature of ECDSA: no key is needed to make it."""
    from base64 import b64decode, b64encode

    r, s = decode_dss_signature(b64decode(signature))
    return b64encode(encode_dss_signature(r, CURVE_ORDER - s)).decode()


def second_name(random: Random, made: list[Json]) -> Lines:
    """Put a name into an object twice: what the one reader sees first, another sees last."""
    lines = text_of(made)
    index = random.randrange(len(made))
    key, value = random.choice(list(made[index]["spec"].items()))
    pair = f"{json.dumps(key)}: {json.dumps(value)}, "
    other = f"{json.dumps(key)}: {json.dumps(random.choice(['eve', 1, value]))}, "
    start = '"spec": {'
    lines[index] = lines[index].replace(pair, random.choice([pair + other, other + pair]), 1)
    if lines[index] == text_of(made)[index]:
        lines[index] = lines[index].replace(start, start + other, 1)
    return lines


def number(random: Random, made: list[Json]) -> Lines:
    index = random.randrange(len(made))
    lines = text_of(made)
    at = made[index]["spec"]["sequence"]
    other = random.choice(
        [f"{at}.0", f"{at}e0", f'"{at}"', f"{at}.0000000000000001", "true", "1e400", "NaN", "-0", f"{at}" * 5000]
    )
    lines[index] = lines[index].replace(f'"sequence": {at}', f'"sequence": {other}', 1)
    return lines


def damaged(random: Random, made: list[Json]) -> Lines:
    """One byte of the file becomes another."""
    lines = text_of(made)
    index = random.randrange(len(lines))
    at = random.randrange(len(lines[index]))
    lines[index] = lines[index][:at] + chr(random.randrange(256)) + lines[index][at + 1 :]
    return lines


KINDS: list[Callable[[Random, list[Json]], Lines]] = [
    field, field, field, dropped, swapped, doubled, cut, head_replaced, made_anew, made_anew, statement, statement,
    second_name, number, damaged,
]  # fmt: skip


def same(lines: Lines, made: list[Json]) -> bool:
    """Tell whether the lines still mean what they meant: 1 and 1.0, and a name that is there twice, are no such case."""
    try:
        pairs = [json.loads(line, object_pairs_hook=list, parse_float=lambda text: text + "f") for line in lines]
    except (ValueError, RecursionError):
        return False
    plain = [json.loads(json.dumps(one), object_pairs_hook=list) for one in made]
    return sorted_pairs(pairs) == sorted_pairs(plain)


def sorted_pairs(value: Any) -> str:
    """Return a text that is equal for equal JSON, whatever the order of names."""
    if isinstance(value, list) and all(isinstance(one, tuple) for one in value):
        return "{" + ",".join(sorted(f"{key!r}:{sorted_pairs(inner)}" for key, inner in value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(sorted_pairs(one) for one in value) + "]"
    return repr(value)


def checked(lines: Lines, path: Path, key: SigningKey, anchor: Anchor) -> Report | None:
    """Return the report, or None where the file is refused with a message."""
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    try:
        return verify(records(path), keys=[key.public], anchors=[anchor])
    except CommandFailure:
        return None


def test_the_untouched_export_is_found_whole(ledger: list[Json], tmp_path: Path) -> None:
    for key in (KEY, FOLLOWING):
        report = checked(text_of(ledger), tmp_path / "records.jsonl", key, anchor_of(ledger[-1]))
        assert report is not None
        assert (report.problems, report.unsigned) == ((), 0)


@pytest.mark.attack(29)
@pytest.mark.parametrize("number_of_kind", range(len(KINDS)), ids=lambda at: f"{at}-{KINDS[at].__name__}")
def test_every_change_is_found(number_of_kind: int, ledger: list[Json], tmp_path: Path) -> None:
    random = Random(number_of_kind)  # noqa: S311 - drawn again the same way each time
    tried = 0
    while tried < EACH:
        lines = KINDS[number_of_kind](random, copy.deepcopy(ledger))
        if same(lines, ledger):
            continue
        tried += 1
        report = checked(lines, tmp_path / "records.jsonl", FOLLOWING, anchor_of(ledger[-1]))
        if report is None:
            continue
        assert report.problems, f"not found, change {tried}: {lines}"
        untouched = next(
            (at for at, (a, b) in enumerate(zip(lines, text_of(ledger), strict=False)) if a != b), len(lines)
        )
        assert report.proven is None or report.proven.sequence <= untouched


def test_that_is_more_than_a_thousand_changes() -> None:
    assert EACH * len(KINDS) >= 1000
