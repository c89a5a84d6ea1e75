"""How much of the example a run takes: all of it, or enough to see every stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml


@dataclass(frozen=True)
class Scale:
    """The size of a run, and how long its parts take on two cores."""

    suite_file: str
    expected: Mapping[str, str]
    """Phase of the job to a time for people."""
    job_expected: str
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Manifest to what is different in its `spec`; None takes a field away."""

    def apply(self, manifest: str, text: str) -> str:
        """Return the manifest's YAML at this size."""
        if manifest not in self.changes:
            return text
        document = yaml.safe_load(text)
        _merge(document["spec"], self.changes[manifest])
        return yaml.safe_dump(document, allow_unicode=True)


def _merge(target: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        if isinstance(value, Mapping):
            _merge(target[name], value)
        elif value is None:
            del target[name]
        else:
            target[name] = value


FULL = Scale(
    suite_file="suite.jsonl",
    expected={
        "Validating": "20 s",
        "Baselining": "4 min",
        "Training": "8 min",
        "Sealing": "10 s",
        "Evaluating": "2 min",
    },
    job_expected="16 min",
)
QUICK_QUESTIONS = 32
QUICK = Scale(
    suite_file="suite-quick.jsonl",
    expected={
        "Validating": "20 s",
        "Baselining": "1 min",
        "Training": "3 min",
        "Sealing": "10 s",
        "Evaluating": "1 min",
    },
    job_expected="6 min",
    changes={
        # So few questions cannot tell a good regular expression from a half-trained model: only prompting is beaten here.
        "evaluationsuite": {
            "data": {"uri": "pvc://licenses-data/suite-quick.jsonl"},
            "primaryMetric": {"minimum": "0.40"},
            "baselines": {"regex": None, "regexTemplate": None},
        },
        "finetunejob": {"method": {"maxSteps": 24, "gradientAccumulation": 1, "checkpointSteps": 6}},
    },
)
