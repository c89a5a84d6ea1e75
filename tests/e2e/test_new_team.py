"""The four roads of docs/: from two files of rows to an answer in an application, each command as the person whom the page names.

The platform team has made the namespace, here that of the demo, and does nothing more.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import yaml

from tests.e2e.administrator import kubectl
from tests.e2e.new_team import TEAM, Team, commands, welcomed, who
from tests.e2e.test_demo_under_faults import CHECKOUT
from tests.support.pages import DOCS

pytestmark = [pytest.mark.e2e, pytest.mark.cluster, pytest.mark.timeout(5400)]
TASK, REVIEW, APPLICATION = "road-task.md", "road-review.md", "road-application.md"
MODEL, PAGES_NAME = "tickets", "tickets-1"
NAME = f"{MODEL}-{time.strftime('%m%d-%H%M%S', time.gmtime())}"
"""Of suite, job and release in this run."""
MOST_COMMANDS, MOST_OF_THE_ENGINEER = 12, 7
SECONDS = 2700.0


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with welcomed(tmp_path_factory.mktemp("team")) as team:
        yield team


def block(page: str, language: str, number: int = 0) -> str:
    return str(re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)[number])


def change_the_job(team: Team, dataset: dict[str, str]) -> None:
    """Make what `init` wrote into the job that the page shows: of what only the page has, nothing else was to be filled in."""
    file = team.folder / "job.yaml"
    written, shown = yaml.safe_load(file.read_text()), yaml.safe_load(block(TASK, "yaml"))
    shown["metadata"]["name"] = shown["spec"]["suiteRef"]["name"] = NAME
    shown["spec"]["dataset"]["uri"] = dataset["uri"]
    assert written["metadata"] == shown["metadata"]
    for field in ("serverRef", "suiteRef", "dataset"):
        assert written["spec"][field] == shown["spec"][field]
    assert shown["spec"]["dataset"] == dataset
    file.write_text(yaml.safe_dump(shown))


def close_the_route_of_an_earlier_run() -> None:
    """On a cluster that is kept the page's route is there already."""
    routes = json.loads(kubectl("-n", TEAM, "get", "modelserver", "licenses", "-o", "json"))["spec"]["routes"]
    others = [route for route in routes if route["name"] != MODEL]
    patch = json.dumps({"spec": {"routes": others}})
    kubectl("-n", TEAM, "patch", "modelserver", "licenses", "--type=merge", f"--patch={patch}")


def follow(team: Team, role: str, line: str) -> str:
    """Run a line of a page under the names of this run: records are kept, so a name is used once."""
    line = line.replace(PAGES_NAME, NAME)
    began = time.monotonic()
    said = team.run(role, line, SECONDS)
    print(f"\n{time.monotonic() - began:5.0f} s  {role}: $ {line[:140]}\n{said[-3000:]}")
    return said


def test_a_new_team_goes_from_rows_to_an_answer_by_the_commands_of_its_page(team: Team) -> None:
    close_the_route_of_an_earlier_run()
    subprocess.run([sys.executable, CHECKOUT / "examples/tickets/make_rows.py", "--out", team.folder], check=True)
    lines = [(who(line, TASK), line) for line in commands(TASK)]
    assert len(lines) <= MOST_COMMANDS
    assert sum(role == "engineer" for role, _ in lines) <= MOST_OF_THE_ENGINEER
    said = ""
    dataset: dict[str, str] = {}
    for role, line in lines:
        if role == "model-risk":
            # What this reviewer does stands on a page of its own, which has the same decision.
            assert line in commands(REVIEW)
            review(team)
            continue
        said = follow(team, role, line.replace("DIGEST", str(dataset.get("uri", "")).rpartition(":")[2]))
        if line.startswith("tunegate data push"):
            dataset = yaml.safe_load(said)["dataset"]
            assert dataset["uri"].startswith(f"oci://{TEAM}/datasets/tickets@sha256:")
        if line.startswith("tunegate init"):
            change_the_job(team, dataset)
    assert said.strip() == block(TASK, "text").strip()


def review(team: Team) -> None:
    """Follow the reviewer's page."""
    said = [(line, follow(team, "model-risk", line)) for line in commands(REVIEW)]
    assert any(NAME in printed for line, printed in said if line.startswith("tunegate get releases"))
    assert any("right" in printed for line, printed in said if "inspect answers" in line)
    assert "<html" in (team.folder / "data.html").read_text()
    assert "ravi" in said[-1][1]


def test_a_developer_gets_the_answer_in_a_program_of_their_own(team: Team) -> None:
    image = json.loads(kubectl("-n", "tunegate-system", "get", "deployment", "tunegate-operator", "-o", "json"))
    container = image["spec"]["template"]["spec"]["containers"][0]
    (team.folder / "application.yaml").write_text(block(APPLICATION, "yaml").replace("IMAGE", container["image"]))
    (team.folder / "ask.py").write_text(block(APPLICATION, "python"))
    said = [follow(team, "developer", line) for line in commands(APPLICATION)]
    served, answer = said[-1].split()
    assert served.startswith(f"{NAME}-")
    assert answer == "repair"


def test_the_job_that_the_readme_shows_can_be_sent_to_the_cluster_of_the_demo(team: Team) -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL)
    (team.folder / "readme.yaml").write_text(shown)
    said = follow(team, "engineer", "tunegate create job -f readme.yaml --dry-run 2>&1")
    assert "would be created" in said
    assert "warning" not in said.lower()
