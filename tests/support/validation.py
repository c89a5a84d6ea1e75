"""Configurations of the validate stage, with rows and questions that are good."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.stage_process import base_model_input, stage_base, write_rows
from tunegate import digests
from tunegate.api.computepool import ComputePoolSpec
from tunegate.api.evaluationsuite import EvaluationSuiteSpec
from tunegate.api.finetunejob.spec import Budget, Intent, Method
from tunegate.api.modelserver import EngineProfile
from tunegate.api.stage.configs import DataOrigin, DatasetInput, SuiteInput, ValidateConfig
from tunegate.api.stage.results import ValidateResult

SECRET = "zebra-4711"
PROFILE = EngineProfile(image="registry/engine@sha256:" + "0" * 64, device="CPU", max_model_len=512, max_lora_rank=16)
POOL = ComputePoolSpec(
    device_memory="6Gi", throughput="20", price_per_device_hour="2", max_nodes=1, cleared_for=["Public"]
)
ORIGIN = DataOrigin(
    uri="pvc://data/rows.jsonl", source="made up", license="CC0-1.0", classification="Public", steward="erin"
)
METHOD: dict[str, Any] = {"type": "QLoRA", "maxLength": 256, "batchSize": 8, "epochs": 3, "developmentFraction": "0.1"}


def example(number: int) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": f"Find the holder: Copyright {1900 + number} {SECRET} holder {number}"},
            {"role": "assistant", "content": json.dumps({"holder": f"{SECRET} {number}"})},
        ],
        "holder": f"h{number // 2}",
    }


Validate = Callable[..., ValidateResult]


def make_config(
    folder: Path, model: Path, rows: list[Any], questions: list[Any] | None = None, **changes: Any
) -> ValidateConfig:
    data = folder / "rows.jsonl"
    group_field = changes.pop("group_field", "holder")
    data.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    suite = write_rows(folder / "suite.jsonl", questions or [example(number) for number in range(5000, 5060)])
    spec = EvaluationSuiteSpec.model_validate(
        {
            "data": {"uri": "pvc://data/suite.jsonl", "digest": digests.file_digest(suite), "groupField": "holder"},
            "task": {"type": "Extraction", "maxTokens": 64},
            "primaryMetric": {"name": "ExactMatch"},
        }
    )
    method = Method.model_validate({**METHOD, **changes.pop("method", {})}) if "import_path" not in changes else None
    return ValidateConfig(
        **stage_base("127.0.0.1:1"),
        base_model=base_model_input(model),
        profile=PROFILE,
        dataset=changes.pop("dataset", DatasetInput(path=str(data), group_field=group_field)),
        suite=SuiteInput(name="s", path=str(suite), digest=digests.document_digest(spec.to_dict()), spec=spec),
        intent=Intent(task_type=changes.pop("task_type", "Format"), problem=changes.pop("problem", "Behavior")),
        method=method,
        pool=changes.pop("pool", POOL),
        origin=ORIGIN,
        budget=changes.pop("budget", Budget()),
        **changes,
    )


ROWS = [example(number) for number in range(1, 241)]


def findings(result: ValidateResult, action: str = "Block") -> dict[str, list[str]]:
    return {finding.check: finding.rows for finding in result.findings if finding.action == action}
