"""Which fields of a job may change is said once, and twice enforced: by the CRD and by the chart's admission rule."""

from __future__ import annotations

import re

from tests.support import helm
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.spec import MUTABLE, FineTuneJobSpec
from tunegate.api.markers import RULES
from tunegate.api.schema import structural_schema

FIELDS = {field.alias or name for name, field in FineTuneJobSpec.model_fields.items()}


def test_the_rule_of_the_crd_holds_every_other_field() -> None:
    rule = structural_schema(FineTuneJob)["properties"]["spec"][RULES][0]["rule"]
    assert set(re.findall(r"self\.(\w+) == oldSelf\.\1(?!\w)", rule)) == FIELDS - set(MUTABLE)


def test_the_rule_of_the_chart_lets_the_same_fields_change() -> None:
    (policy,) = [
        one
        for one in helm.render(helm.values())
        if one["kind"] == "ValidatingAdmissionPolicy" and one["metadata"]["name"] == "tunegate-immutable"
    ]
    (allowed,) = [one["expression"] for one in policy["spec"]["variables"] if one["name"] == "mayChange"]
    assert tuple(re.findall(r"'(\w+)'", allowed.partition("?")[2])) == MUTABLE


def test_every_field_that_may_change_exists() -> None:
    assert set(MUTABLE) <= FIELDS
