"""What the API server says of wrong fields is told with what to write instead."""

from __future__ import annotations

import pytest

from tunegate.api.markers import DataUri, QuestionsUri, VolumeUri
from tunegate.cli.server_words import with_advice

STRICT = 'FineTuneJob in version "v1alpha1" cannot be handled as a FineTuneJob: strict decoding error: '


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("spec.method.maxlength", "maxLength"),
        ("spec.dataset.clasification", "classification"),
        ("spec.suitRef", "suiteRef"),
        ("spec.contributors[0].usernam", "username"),
        ("spec.intendeduse", "intendedUse"),
        ("spec.primaryMetric.margn", "margin"),
    ],
)
def test_an_unknown_field_comes_with_the_one_that_was_meant(path: str, meant: str) -> None:
    said = with_advice(f'{STRICT}unknown field "{path}"')
    assert said == f'{STRICT}unknown field "{path}": did you mean {meant}?'


def test_a_field_that_is_like_none_is_told_as_it_is() -> None:
    said = f'{STRICT}unknown field "spec.zzzzzz", unknown field "spec.none.such"'
    assert with_advice(said) == said


@pytest.mark.parametrize(
    ("form", "words"),
    [(DataUri, "s3://BUCKET/key"), (QuestionsUri, "oci://NAMESPACE/questions/NAME"), (VolumeUri, "pvc://CLAIM/path")],
)
def test_an_address_is_told_by_its_form_and_not_by_a_regular_expression(form: object, words: str) -> None:
    pattern = next(one.pattern for field in form.__metadata__ for one in field.metadata if hasattr(one, "pattern"))  # type: ignore[attr-defined]
    said = with_advice(
        f"[spec.dataset.uri: Invalid value: \"foo\": spec.dataset.uri in body should match '{pattern}', spec.x: Required value]"
    )
    assert words in said
    assert "[a-z0-9]" not in said
    assert said.endswith(", spec.x: Required value]")


def test_other_patterns_stay() -> None:
    assert with_advice("spec.digest in body should match '^sha256:[0-9a-f]{64}$'").endswith(
        "match '^sha256:[0-9a-f]{64}$'"
    )


DENIED = '{0}.tunegate.io is forbidden: User "erin" cannot {1} resource "{0}" in API group "tunegate.io" in the namespace "team"'


@pytest.mark.parametrize(
    ("verb", "resource", "value"),
    [
        ("create", "evaluationsuites", "people.evaluationOwners"),
        ("patch", "modelservers", "people.servingOperators"),
        ("create", "finetunejobs", "people.requesters"),
        ("delete", "modelreleases", "people.requesters"),
        ("create", "approvals", "people.approvers"),
        ("get", "finetunejobs", "people.requesters, approvers, evaluationOwners, servingOperators or auditors"),
    ],
)
def test_a_right_that_is_missing_comes_with_the_value_of_the_chart_that_gives_it(
    verb: str, resource: str, value: str
) -> None:
    said = with_advice(DENIED.format(resource, verb))
    assert said.startswith(DENIED.format(resource, verb))
    assert f". The chart's {value} gives this right" in said
    assert "If namespace team does not exist or is not governed, nobody has it: correct -n" in said


def test_a_right_in_the_whole_cluster_names_no_namespace() -> None:
    denied = 'basemodels.tunegate.io is forbidden: User "erin" cannot {} resource "basemodels" in API group "tunegate.io" at the cluster scope'
    assert with_advice(denied.format("create")).endswith(". The platform team gives this right")
    assert "people.requesters" in with_advice(denied.format("list"))
    others = 'pods is forbidden: User "erin" cannot list resource "pods" in API group "" in the namespace "team"'
    assert with_advice(others) == others
