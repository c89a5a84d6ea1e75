"""A job and all that it depends on, as files of one folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.support import builders
from tests.support.stage_process import make_rows, write_rows
from tunegate import digests

Json = dict[str, Any]


def write_plan_files(
    folder: Path,
    *,
    extra_rows: tuple[str, ...] = (),
    base: Json | None = None,
    policy: Json | None = None,
    suite: Json | None = None,
    pushed: tuple[str, str] | None = None,
    **job: Any,
) -> list[str]:
    """Write rows, suite and manifests; return the command's arguments but for where the base model lies.

    ``pushed``: where the questions of the job's suite and of `beside` were pushed, in place of the claim.
    """
    data = folder / "volume"
    data.mkdir(parents=True)
    rows = [*map(json.dumps, make_rows(240)), *extra_rows]
    (data / "train.jsonl").write_text("".join(f"{row}\n" for row in rows))
    gate = write_rows(data / "gate.jsonl", make_rows(60, start=5000))
    method = {"type": "LoRA", "maxLength": 256, "developmentFraction": "0.1"}
    namespace = pushed[0].removeprefix("oci://").partition("/")[0] if pushed else "team"
    made = builders.make_finetunejob(namespace=namespace, **{"method": method, "requestedBy": None, **job})
    (folder / "job.yaml").write_text(yaml.safe_dump(made))
    questions = {"uri": "pvc://data/gate.jsonl", "digest": digests.file_digest(gate)}
    beside = write_rows(data / "beside.jsonl", make_rows(60, start=9000))
    other = {"uri": "pvc://data/beside.jsonl", "digest": digests.file_digest(beside)}
    if pushed:
        questions["uri"], other["uri"] = pushed
    elsewhere = {"uri": "pvc://nowhere/gate.jsonl", "digest": builders.DIGEST}
    objects = [
        builders.make_modelserver(),
        builders.make_basemodel(**(base or {})),
        builders.make_computepool(pricePerDeviceHour="2"),
        builders.make_evaluationsuite(namespace=namespace, data=questions, **(suite or {})),
        builders.make_evaluationsuite("beside", namespace, data=other),
        builders.make_evaluationsuite("elsewhere", data=elsewhere),
        builders.make_approvalpolicy(**(policy or {})),
    ]
    # As `kubectl get -o yaml` prints several, and one by itself.
    listed = {"apiVersion": "v1", "kind": "List", "items": objects[1:]}
    (folder / "site.yaml").write_text(yaml.safe_dump_all([objects[0], listed]))
    return ["plan", "-f", str(folder / "job.yaml"), "--with", str(folder / "site.yaml"), "--volume", f"data={data}"]
