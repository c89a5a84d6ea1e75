"""The example's manifests with a run's names and digests filled in."""

from __future__ import annotations

import hashlib
import re

from tunegate_demo.inputs import EXAMPLE, Inputs, file_digest
from tunegate_demo.scale import Scale

PLACEHOLDER = re.compile(r"\$\{([A-Z_]+)\}")
"""Only this form: a regular expression in a manifest may hold a plain dollar sign."""


def render(name: str, *, run: str, scale: Scale, inputs: Inputs, images: dict[str, str], job_uid: str = "") -> str:
    """Return `examples/licenses/<name>.yaml` at a run's size. Raises KeyError for a placeholder that has no value."""
    suite = file_digest(inputs.suites[scale.suite_file])
    values = {
        "RUN": run,
        "SUITE_DIGEST": suite,
        "SUITE_SHORT": _suite_version(suite, scale),
        "DATASET_DIGEST": file_digest(inputs.train),
        "ENGINE_IMAGE": images["trainer"],
        "JOB_UID": job_uid,
    }
    text = (EXAMPLE / f"{name}.yaml").read_text()
    return scale.apply(name, PLACEHOLDER.sub(lambda found: values[found.group(1)], text))


def _suite_version(questions: str, scale: Scale) -> str:
    """Return what tells one suite from another of the same name: its questions and rules."""
    rules = scale.apply("evaluationsuite", (EXAMPLE / "evaluationsuite.yaml").read_text())
    return hashlib.sha256((questions + rules).encode()).hexdigest()[:8]
