"""The example's manifests with a run's names and digests filled in."""

from __future__ import annotations

import re

from tunegate_demo.inputs import EXAMPLE, Inputs

PLACEHOLDER = re.compile(r"\$\{([A-Z_]+)\}")
"""Only this form: a regular expression in a manifest may hold a plain dollar sign."""


def render(name: str, *, run: str, inputs: Inputs, images: dict[str, str], job_uid: str = "") -> str:
    """Return `examples/licenses/<name>.yaml`. Raises KeyError for a placeholder that has no value."""
    suite = inputs.suite_digest
    values = {
        "RUN": run,
        "SUITE_DIGEST": suite,
        "SUITE_SHORT": suite.removeprefix("sha256:")[:8],
        "DATASET_DIGEST": inputs.train_digest,
        "ENGINE_IMAGE": images["trainer"],
        "JOB_UID": job_uid,
    }
    text = (EXAMPLE / f"{name}.yaml").read_text()
    return PLACEHOLDER.sub(lambda found: values[found.group(1)], text)
