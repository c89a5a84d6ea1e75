"""Documents between operator and stages: configurations, results, last words, kept answers, manifests of artifacts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tests.mutated_files.kinds import Files, Kind, Wrong
from tests.support.stage_documents import GOOD
from tests.support.stage_objects import STAGES, objects
from tests.support.statements import data_statement
from tests.support.suites import suite_spec
from tunegate import digests
from tunegate.api.answers import of_lines
from tunegate.api.datastatement import DataStatement
from tunegate.api.stage.ends import ProgressReport, Termination
from tunegate.api.stage.results import STAGE_RESULT
from tunegate.errors import wrong_fields
from tunegate.reconcile.attempt.pod_end import last_word
from tunegate.registry import artifact
from tunegate.registry.artifact import Artifact, Layer
from tunegate_trainer import entry
from tunegate_trainer.data.rows import Row
from tunegate_trainer.endings import BadInput
from tunegate_trainer.evaluation import answers
from tunegate_trainer.evaluation.engine import Reply
from tunegate_trainer.evaluation.questions import Suite
from tunegate_trainer.evaluation.scoring import metrics_of
from tunegate_trainer.progress import ProgressBoard


def _configurations() -> Files:
    return {f"{stage}.json": objects(stage)["ConfigMap"]["data"]["stage.json"].encode() for stage in STAGES}


def read_configurations(folder: Path) -> str | None:
    """Read stage configurations as every stage begins."""
    found = []
    for path in sorted(folder.iterdir()):
        try:
            config = entry._read(path, digests.sha256(path.read_bytes()))
        except BadInput as refused:
            found.append(refused.message)
            continue
        if config.stage not in path.name and path.name.removesuffix(".json") in STAGES:
            continue  # another stage's configuration is one, too
        digests.canonical(config.to_dict())
    return "; ".join(found) or None


def _results() -> Files:
    return {f"{stage}.json": json.dumps(make().to_dict()).encode() for stage, make in GOOD.items()}


def read_results(folder: Path) -> str | None:
    """Read results of stages as the operator and the command line do."""
    found = []
    for path in sorted(folder.iterdir()):
        try:
            result = STAGE_RESULT.validate_json(path.read_bytes())
        except ValidationError as refused:
            found.append(f"{path.name}: {wrong_fields(refused)}")
            continue
        if not json.loads(result.model_dump_json(by_alias=True)):
            raise Wrong("a result that cannot be written again")
    return "; ".join(found) or None


def _words() -> Files:
    word = Termination(reason="Completed", result_digest=digests.sha256(b"result"))
    report = ProgressReport(stage="Train", percent=40, step=3, total_steps=9, loss=1.5, remaining_seconds=30)
    return {
        "termination.json": word.model_dump_json(by_alias=True).encode(),
        "progress.json": report.model_dump_json(by_alias=True).encode(),
        "statement.json": json.dumps(data_statement().to_dict()).encode(),
    }


def read_words(folder: Path) -> str | None:
    """Read what stages say while they run and when they end."""
    text = (folder / "termination.json").read_bytes().decode(errors="replace")  # as the kubelet keeps it
    board = ProgressBoard("Train", folder / "progress.json")
    if board.latest().model_dump_json() == "":
        raise Wrong("a report that cannot be written again")
    found = [] if last_word({"message": text}) is not None else ["termination.json: no last word"]
    try:
        DataStatement.model_validate_json((folder / "statement.json").read_bytes())
    except ValidationError as refused:
        found.append(f"statement.json: {wrong_fields(refused)}")
    return "; ".join(found) or None


def _suite() -> Suite:
    turns: Any = [
        ({"role": "user", "content": f"Wér {at}?"}, {"role": "assistant", "content": "Ada"}) for at in range(3)
    ]
    return Suite([Row(at, turn, {}) for at, turn in enumerate(turns, 1)], ["a", "b", "b"], "sha256:" + "0" * 64)


def _answers() -> Files:
    replies = [Reply("Ada", "stop"), Reply("Bob\u2028", "length", shortened=True), Reply("", "stop")]
    return {
        "answers.jsonl": answers.write({"Tuned": replies, "BasePlain": replies}, _suite(), metrics_of(suite_spec())[0])
    }


def read_answers(folder: Path) -> str | None:
    """Read kept answers as the evaluation and `tunegate inspect` do."""
    content = (folder / "answers.jsonl").read_bytes()
    try:
        of_lines(content)
        answers.read(content, _suite())
    except ValidationError as refused:
        return f"answers: {wrong_fields(refused)}"
    except BadInput as refused:
        return refused.message
    return None


def _manifest() -> Files:
    layer = Layer("application/json", digests.sha256(b"{}"), 2, "adapter_config.json")
    return {"manifest.json": artifact.write(Artifact("application/vnd.x", (layer,), layer, {"a": "b"}))}


def read_manifest(folder: Path) -> str | None:
    """Read an OCI manifest that anyone may have pushed."""
    try:
        found = artifact.read((folder / "manifest.json").read_bytes())
    except ValueError as refused:
        return str(refused)
    artifact.write(found)
    return None


KINDS = [
    Kind("stage configurations", _configurations, read_configurations, r"\.json: ", one_file=True),
    Kind("stage results", _results, read_results, r"\.json: ", one_file=True),
    Kind("last words", _words, read_words, r"\.json: ", one_file=True),
    Kind("kept answers", _answers, read_answers, r"answers", one_file=True),
    Kind("OCI manifest", _manifest, read_manifest, r"OCI image manifest", one_file=True),
]
