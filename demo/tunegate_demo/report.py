"""`demo-report.json`: what the run showed, for machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tunegate_local.timings import Part


@dataclass
class Report:
    """Filled step by step; written at the end."""

    stages: list[dict[str, Any]] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    gate: dict[str, Any] = field(default_factory=dict)
    forgedApproval: dict[str, Any] = field(default_factory=dict)  # noqa: N815 - the file's own key
    egress: dict[str, Any] = field(default_factory=dict)
    tamper: dict[str, Any] = field(default_factory=dict)
    approvers: list[str] = field(default_factory=list)
    servedName: str = ""  # noqa: N815
    answers: dict[str, str] = field(default_factory=dict)
    mlflowRun: str = ""  # noqa: N815

    def write(self, path: Path, parts: Sequence[Part]) -> None:
        """Write the report; ``parts`` are the finished steps."""
        self.stages = [{"name": part.name, "seconds": part.seconds, "cpuSeconds": part.cpu_seconds} for part in parts]
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")
