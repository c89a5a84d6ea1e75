"""What people give to `tunegate`: YAML of jobs and catalogues, their own settings, kubeconfigs."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from tests.mutated_files.kinds import Files, Kind
from tests.mutated_files.of_evidence import ended
from tests.mutated_files.of_models import contents
from tests.support import builders
from tests.support.model_folder import make_model
from tests.support.plan_files import write_plan_files
from tunegate.cli import config

NOWHERE = "http://127.0.0.1:1"


@cache
def _plan() -> Files:
    with TemporaryDirectory() as place:
        folder = Path(place)
        write_plan_files(folder)
        (folder / "models").mkdir()
        make_model(folder / "models/smollm2")
        return contents(folder)


def read_plan(folder: Path) -> str | None:
    """Plan a job. Where the libraries of the stages are missing, the command says so after it has read everything."""
    volumes = [f"--volume={name}={folder / place}" for name, place in (("data", "volume"), ("models", "models"))]
    status, text = ended("plan", "-q", "-f", folder / "job.yaml", "--with", folder / "site.yaml", *volumes)
    return None if status == 0 or "the checks need further libraries" in text else text


def kubeconfig(server: str = NOWHERE) -> str:
    """Return a kubeconfig for an API server."""
    return yaml.safe_dump({
        "apiVersion": "v1", "kind": "Config", "current-context": "there",
        "clusters": [{"name": "there", "cluster": {"server": server, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "erin", "user": {"token": "x"}}],
        "contexts": [{"name": "there", "context": {"cluster": "there", "user": "erin", "namespace": "team"}}],
    })  # fmt: skip


def _created() -> Files:
    job, release = builders.make_finetunejob(requestedBy=None), builders.make_modelrelease(requestedBy=None)
    return {
        "job.yaml": yaml.safe_dump(job).encode(), "release.yaml": yaml.safe_dump(release).encode(),
        "kubeconfig": kubeconfig().encode(),
    }  # fmt: skip


def read_created(folder: Path) -> str | None:
    """Create objects at an API server that is not there: what is wrong with the files is said before it is asked."""
    for kind in ("job", "release"):
        options = ("--kubeconfig", folder / "kubeconfig", "create", kind, "-f", folder / f"{kind}.yaml", "--dry-run")
        _, text = ended(*options, statuses=(1, 2))
        if "does not answer" not in text:
            return text
    return None


def _settings() -> Files:
    settings = {
        "registry": {"host": "registry.example:5000", "authFile": "auth.json", "caFile": "ca.pem", "plainHTTP": True}
    }
    auths = {"auths": {"registry.example:5000": {"auth": "ZXJpbjp4", "registrytoken": "x"}}}
    return {
        "config.yaml": yaml.safe_dump(settings).encode(), "auth.json": yaml.safe_dump(auths).encode(), "kubeconfig.yaml":
        kubeconfig().encode(),
    }  # fmt: skip


def read_settings(folder: Path) -> str | None:
    """Run commands with somebody's settings and kubeconfig."""
    os.environ[config.VARIABLE] = str(folder / "config.yaml")
    try:
        _, text = ended(
            "--kubeconfig",
            folder / "kubeconfig.yaml",
            "evidence",
            "export",
            "release/r",
            folder / "new",
            statuses=(1, 2),
        )
        _, other = ended("--kubeconfig", folder / "kubeconfig.yaml", "get", "jobs", statuses=(1, 2))
    finally:
        del os.environ[config.VARIABLE]
    refusals = [said for said in dict.fromkeys((text, other)) if "does not answer" not in said]
    return "; ".join(refusals) or None


KINDS = [
    Kind(
        "plan's YAML", _plan, read_plan, r"\.yaml|FineTuneJob|ModelServer|BaseModel|ComputePool|EvaluationSuite|ApprovalPolicy"
        r"|--volume|pvc://|spec\.|suite|data set|documents|base model|adapter", one_file=True,
    ),
    Kind("create's YAML", _created, read_created, r"\.yaml|kubeconfig|FineTuneJob|ModelRelease|cannot|namespace", one_file=True),
    Kind("settings and kubeconfig", _settings, read_settings, r".", one_file=True),
]  # fmt: skip
