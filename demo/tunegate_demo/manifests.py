"""The example's manifests with a run's names and digests filled in."""

from __future__ import annotations

from string import Template

from tunegate_demo.inputs import EXAMPLE, Inputs


def render(name: str, *, run: str, inputs: Inputs, images: dict[str, str], job_uid: str = "") -> str:
    """Return `examples/licenses/<name>.yaml`. Raises KeyError for a placeholder that has no value."""
    suite = inputs.suite_digest
    values = {
        "RUN": run,
        "SUITE_DIGEST": suite,
        "SUITE_SHORT": suite.removeprefix("sha256:")[:8],
        "TRAIN_DIGEST": inputs.train_digest,
        "ENGINE_IMAGE": images["trainer"],
        "JOB_UID": job_uid,
    }
    return _Braced((EXAMPLE / f"{name}.yaml").read_text()).substitute(values)


class _Braced(Template):
    """Only `${NAME}` is a placeholder: a regular expression may hold a plain dollar sign."""

    pattern = r"\$(?:(?P<escaped>\$\$)|(?P<named>\b\B)|\{(?P<braced>[A-Z_]+)\}|(?P<invalid>\b\B))"
