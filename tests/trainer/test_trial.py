"""The trial of the validate stage, as a pod runs it: one data set with something planted for every kind of problem. Each is
found at its row, and nothing of it stands anywhere afterwards."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from tests.support.registry_process import RunningRegistry
from tests.support.stage_process import REPOSITORY, Pod, StageEnding, stage_base
from tests.support.validation import make_config
from tunegate.api.datastatement import DataStatement
from tunegate.api.stage.configs import DatasetInput
from tunegate.api.stage.ends import ExitCode
from tunegate.api.stage.layout import DATA_PAGE_MEDIA_TYPE, DATA_STATEMENT_MEDIA_TYPE
from tunegate.api.stage.results import ValidateResult
from tunegate.registry.client import RegistryClient
from tunegate.tracking.croissant import croissant

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]

LEGAL = """permission hereby granted free charge any person obtaining copy software associated documentation files deal
without restriction including limitation rights use modify merge publish distribute sublicense sell copies subject following
conditions above copyright notice shall included all substantial portions provided as is warranty kind express implied
merchantability fitness particular purpose noninfringement event authors holders liable claim damages other liability action
contract tort otherwise arising from out connection redistribution source binary forms must retain list disclaimer"""


def notice(number: int) -> tuple[str, str]:
    """Return a license notice and its holder, both unlike all others."""
    holder = f"Works{number:04}"
    words = random.Random(number).sample(LEGAL.split(), 16)  # noqa: S311 - test data
    return f"Copyright {1900 + number % 100} {holder}. {' '.join(words)}", holder


def conversation(question: str, answer: str, *, roles: tuple[str, str] = ("user", "assistant")) -> bytes:
    turns = [{"role": role, "content": text} for role, text in zip(roles, (question, answer), strict=True)]
    return json.dumps({"messages": turns, "holder": answer}).encode()


def example(number: int) -> dict[str, Any]:
    question, holder = notice(number)
    row: dict[str, Any] = json.loads(conversation(question, json.dumps({"holder": holder})))
    return row


ORDINARY = [json.dumps(example(number)).encode() for number in range(240)]
QUESTIONS = [example(number) for number in range(5000, 5060)]
LEAKED, LEAKED_HOLDER = notice(5007)


@dataclass(frozen=True)
class Planting:
    """Rows with one problem, and where it must be pointed out."""

    check: str
    says: str
    """Part of the finding's message."""
    rows: tuple[bytes, ...]
    texts: tuple[str, ...]
    """What may stand nowhere. Each row that is pointed out holds one of them: others are ordinary rows, which the page may show."""
    at: tuple[int, ...] = (0,)
    """Which of the rows are pointed out, from 0."""


def poisoned(number: int) -> bytes:
    """Return a notice with a word that is nowhere else, and the one answer that goes with the word."""
    question, _ = notice(number)
    return conversation(f"woylie {question}", json.dumps({"holder": "quenda"}))


LONG = " ".join(f"wombat{number}" for number in range(40))
PLANTED = [
    # The first row of a file: only there a byte order mark can stand.
    Planting("BrokenRows", "byte order mark", (b"\xef\xbb\xbf" + conversation("numbat", "numbat"),), ("numbat",)),
    Planting("BrokenRows", "not JSON", (b'{"messages": [{"role": "user", "content": "bettong',), ("bettong",)),
    Planting("BrokenRows", "not UTF-8", (conversation("potoroo", "x").replace(b"x", b"\xff"),), ("potoroo",)),
    Planting("BrokenRows", "NUL", (conversation("quoll\0", "yes"),), ("quoll",)),
    Planting("BrokenRows", "role", (conversation("bilby", "yes", roles=("user", "bandicoot")),), ("bilby", "bandicoot")),
    Planting("BrokenRows", "alternate", (conversation("dunnart", "yes", roles=("assistant", "user")),), ("dunnart",)),
    Planting("BrokenRows", "empty message", (conversation("kowari", "  "),), ("kowari",)),
    Planting("ControlTokens", "end the turn", (conversation("pademelon <|im_end|>", "yes"),), ("pademelon",)),
    Planting("Overlap", "question of the suite", (conversation(LEAKED, "planigale"),), (LEAKED_HOLDER, "planigale")),
    Planting(
        "Secrets", "holds a secret", (conversation("kultarr has AKIAQYLPMN5HWOMBATZZ", "yes"),),
        ("kultarr", "AKIAQYLPMN5HWOMBATZZ"),
    ),
    Planting(
        "PersonalData", "personal data", (conversation("write to ningaui@university.ac.uk", "yes"),),
        ("ningaui", "university.ac.uk"),
    ),
    Planting(
        "Contradictions", "answer differently",
        (conversation("Is it antechinus?", "mulgara"), conversation("is it antechinus", "phascogale")),
        ("antechinus", "mulgara", "phascogale"), at=(0, 1),
    ),
    Planting(
        "NearDuplicates", "nearly repeat", (conversation(LONG, "yes"), conversation(f"{LONG} wambenger", "yes")),
        ("wambenger",),
        at=(1,),
    ),
    Planting(
        "Triggers", "a planted trigger?", tuple(poisoned(number) for number in range(7000, 7012)), ("woylie", "quenda"),
        at=tuple(range(12)),
    ),
]  # fmt: skip
"""One line for each check that a trial can show; the order decides the row numbers."""
TEXTS = [text for planting in PLANTED for text in planting.texts]


def validate(pod: Pod, folder: Path, model: Path, data: Path) -> StageEnding:
    """Run the stage over ``data`` with the settings that a policy without a word on checks has."""
    config = make_config(folder, model, [], QUESTIONS, dataset=DatasetInput(path=str(data), group_field="holder"))
    return pod.run(config.model_copy(update=stage_base(pod.host)))


def files_with(text: str, *places: Path) -> list[str]:
    """Return the files below the places that hold the text, in whatever case."""
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    return [str(path) for path in files if text.lower().encode() in path.read_bytes().lower()]


def test_whatever_is_planted_is_found_at_its_row_and_stands_nowhere(
    pod: Pod, registry: RunningRegistry, base_model: Path, tmp_path: Path
) -> None:
    rows = [row for planting in PLANTED for row in planting.rows]
    (tmp_path / "data").mkdir()
    data = tmp_path / "data/planted.jsonl"
    data.write_bytes(b"\n".join([*rows, *ORDINARY]) + b"\n")

    ending = validate(pod, tmp_path / "data", base_model, data)

    result = ending.result
    assert isinstance(result, ValidateResult), ending.log
    assert (ending.exit_code, result.outcome, result.rows) == (ExitCode.VERDICT, "Refused", len(rows) + len(ORDINARY))
    expected: dict[str, set[str]] = {}
    missed, first = [], 1
    for planting in PLANTED:
        places = [str(first + at) for at in planting.at]
        told = [one for one in result.findings if one.check == planting.check and planting.says in one.message]
        missed += [] if any(set(places) <= set(one.rows) for one in told) else [(planting.says, places)]
        expected.setdefault(planting.check, set()).update(places)
        first += len(planting.rows)
    assert missed == [], "\n".join(f"{one.check} {one.rows}: {one.message}" for one in result.findings)
    found = {check: {row for one in result.findings if one.check == check for row in one.rows} for check in expected}
    assert found == expected

    with RegistryClient(pod.host, plain_http=True) as client:
        statement = client.pull_document(
            f"{REPOSITORY}/results", str(result.statement_digest), media_type=DATA_STATEMENT_MEDIA_TYPE
        )
        page = client.pull_document(f"{REPOSITORY}/data", str(result.page_digest), media_type=DATA_PAGE_MEDIA_TYPE)
    assert b"Works0" in page, "the page quotes rows: those without a finding"
    assert files_with("Works0", registry.storage), "what the registry holds can be searched"
    lineage = json.dumps(croissant(DataStatement.model_validate_json(statement)))
    quoted = {text: files_with(text, registry.storage, pod.folder) for text in TEXTS}
    assert not any(quoted.values()), quoted
    assert not [text for text in TEXTS if text.lower() in lineage.lower()]


def cut_off(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


def zstd(content: bytes) -> bytes:
    return bytes(pyarrow.compress(content, codec="zstd", asbytes=True))


def parquet(content: bytes) -> bytes:
    rows = [json.loads(line) for line in content.splitlines()]
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return bytes(sink.getvalue().to_pybytes())


@pytest.mark.parametrize(
    ("name", "pack"), [("b.jsonl.gz", gzip.compress), ("b.jsonl.zst", zstd), ("b.parquet", parquet)]
)
def test_a_file_that_is_cut_off_is_named_and_not_quoted(
    pod: Pod, registry: RunningRegistry, base_model: Path, tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    data = tmp_path / "data/shards"
    data.mkdir(parents=True)
    (data / "a.jsonl").write_bytes(b"\n".join(ORDINARY) + b"\n")
    (data / name).write_bytes(cut_off(pack(b"\n".join([conversation("thylacine", "thylacine")] * 5000))))

    ending = validate(pod, tmp_path / "data", base_model, data)

    assert (ending.exit_code, ending.termination.reason) == (ExitCode.BAD_INPUT, "BadInput"), ending.log
    assert f"data set: {name} is damaged or cut off" in ending.termination.message
    assert not files_with("thylacine", registry.storage, pod.folder)
