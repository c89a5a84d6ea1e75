"""docs/operate.md shows the AuthenticationConfiguration that the local cluster's API server really runs with."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import yaml

from tests.support.pages import commands
from tunegate.api.approvalpolicy import ApprovalPolicySpec
from tunegate.cli.main import parser
from tunegate_local import sign_in

PAGE = (Path(__file__).resolve().parents[2] / "docs/operate.md").read_text()
SECTION = PAGE.split("## Know people, not accounts")[1].split("\n## ")[0]
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", SECTION, re.DOTALL)]


def test_configuration_maps_claims_as_the_tested_one_does() -> None:
    shown, run = BLOCKS[0], sign_in.document("")
    assert {**shown, "jwt": None} == {**run, "jwt": None}
    for part in ("claimMappings", "userValidationRules"):
        assert shown["jwt"][0][part] == run["jwt"][0][part]
    assert set(shown["jwt"][0]["issuer"]) == set(run["jwt"][0]["issuer"])


def test_people_sign_in_at_the_issuer_and_as_the_client_that_the_api_server_takes() -> None:
    (line,) = commands("cli.md", "Sign in")
    told = parser().parse_args(shlex.split(line)[1:])
    assert BLOCKS[0]["jwt"][0]["issuer"].items() >= {"url": told.issuer, "audiences": [told.client_id]}.items()


def test_rule_of_the_policy_is_one() -> None:
    spec = {"roles": [{"name": "risk", "groups": ["risk"]}], "allowedData": ["Public"], **BLOCKS[1]["spec"]}
    found = ApprovalPolicySpec.model_validate(spec).identity
    assert found is not None
    assert found.to_dict() == BLOCKS[1]["spec"]["identity"]
