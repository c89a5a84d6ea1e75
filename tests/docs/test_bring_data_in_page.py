"""docs/bring-data-in.md: its commands are run, in their order, by the people that the page speaks of."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support import helm
from tests.support.exchange_site import OWN, PROGRAMS, Site, running_site
from tests.support.programs import program

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
PAGE = PROGRAMS.parent / "docs/bring-data-in.md"
NOT_RUN = ("deployment/tunegate-exchange", "label pvc CLAIM")
"""The installed chart's pods; a claim of the reader's own."""


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site")) as running:
        yield running


def commands() -> list[str]:
    """Return the commands of the page's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if not any(part in line for part in NOT_RUN)]


def test_the_commands_of_the_page_work_for_the_people_it_names(site: Site, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n")
    (tmp_path / "manual.md").write_text("# Manual\n")
    told = {"host": site.registry.host, "plainHTTP": True, "exchange": site.url.removeprefix("http://")}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"registry": told}))
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TUNEGATE_")}
    paths = f"{PROGRAMS}:{PROGRAMS.parent / 'trainer-image'}"
    environment = {**kept, "TUNEGATE_CONFIG": str(tmp_path / "config.yaml"), "PYTHONPATH": paths}
    uri, ran = "", []
    for line in commands():
        words = shlex.split(line.replace("URI", uri))
        by_admin = words[0] == "kubectl"
        command = [program("kubectl"), *words[1:]] if by_admin else [sys.executable, "-m", "tunegate.cli", *words[1:]]
        role = "admin" if by_admin else "steward"
        own = {**environment, "KUBECONFIG": site.plane.kubeconfig(role)}
        done = subprocess.run(
            command, cwd=tmp_path, env=own, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        uri = done.stdout.strip() if "data push" in line else uri
        ran.append(" ".join(words[:3]))
    assert uri.startswith(f"oci://{OWN}/datasets/notices@")
    assert {"tunegate data push", "tunegate data delete", "tunegate documents push"} <= set(ran)


def test_the_page_names_the_rights_that_the_roles_have() -> None:
    rules = {
        one["metadata"]["name"]: one["rules"] for one in helm.render(helm.values()) if one["kind"] == "ClusterRole"
    }
    steward = rules["tunegate-data-steward"]
    assert steward == [
        {
            "apiGroups": ["tunegate.io"],
            "resources": ["datasets", "documents"],
            "verbs": ["create", "get", "list", "delete"],
        }
    ]
    for role, granted in rules.items():
        for rule in granted:
            if role != "tunegate-data-steward" and {"datasets", "documents"} & set(rule["resources"]):
                assert (role in PAGE.read_text(), rule["verbs"]) == (True, ["list"])
            assert "*" not in rule["resources"], f"{role}: `*` would also give what only stewards may"
    assert "Of the chart's roles only the one for\ndata stewards has it." in PAGE.read_text()
