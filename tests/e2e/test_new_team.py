"""docs/road-task.md, from two files of rows to an answered question: each command as the person whom the page names, and no other.

The platform team has made the namespace, here that of the demo, and does nothing more.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.e2e.new_team import TEAM, commands, welcomed, who
from tests.e2e.test_demo_under_faults import CHECKOUT
from tests.support.pages import DOCS

pytestmark = [pytest.mark.e2e, pytest.mark.cluster, pytest.mark.timeout(3600)]
PAGE = "road-task.md"
MOST_COMMANDS, MOST_OF_THE_ENGINEER = 12, 7
SECONDS = 1800.0


def job_of_the_page(dataset: dict[str, str]) -> dict[str, object]:
    """Return `job.yaml` as the page shows it, with what `data push` printed."""
    (shown,) = re.findall(r"```yaml\n(.*?)```", (DOCS / PAGE).read_text(), re.DOTALL)
    job = yaml.safe_load(shown)
    assert {key: value for key, value in job["spec"]["dataset"].items() if key != "uri"} == {
        key: value for key, value in dataset.items() if key != "uri"
    }
    job["spec"]["dataset"] = dataset
    return dict(job)


def test_a_new_team_goes_from_rows_to_an_answer_by_the_commands_of_the_page(tmp_path: Path) -> None:
    subprocess.run([sys.executable, CHECKOUT / "examples/tickets/make_rows.py", "--out", tmp_path], check=True)
    lines = [(who(line, PAGE), line) for line in commands(PAGE)]
    assert len(lines) <= MOST_COMMANDS
    assert sum(role == "engineer" for role, _ in lines) <= MOST_OF_THE_ENGINEER
    with welcomed(tmp_path) as team:
        said = {}
        for role, line in lines:
            began = time.monotonic()
            said[line] = team.run(role, line, SECONDS)
            print(f"{time.monotonic() - began:5.0f} s  {role}: {line[:100]}\n{said[line]}")
            if line.startswith("tunegate data push"):
                dataset = yaml.safe_load(said[line])["dataset"]
                assert dataset["uri"].startswith(f"oci://{TEAM}/datasets/tickets@sha256:")
                (tmp_path / "job.yaml").write_text(yaml.safe_dump(job_of_the_page(dataset)))
    assert said[lines[-1][1]].strip() == "repair"
