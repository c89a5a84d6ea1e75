"""Settings come from the environment, and a wrong one is named."""

from __future__ import annotations

import pytest

from tunegate.errors import Terminal
from tunegate.settings import from_environment

LEAST = {"TUNEGATE_TRAINER_IMAGE": "t", "TUNEGATE_OPERATOR_IMAGE": "o", "TUNEGATE_REGISTRY_HOST": "r:5000"}


def test_the_least_environment_is_enough_and_empty_variables_are_absent() -> None:
    settings = from_environment(LEAST | {"TUNEGATE_MLFLOW_URI": "", "TUNEGATE_GOVERNED": "", "OTHER": "x"})

    assert (None, (), 300.0) == (settings.mlflow_uri, settings.namespaces, settings.resync_seconds)


def test_governed_namespaces_name_their_policies() -> None:
    governed = '[{"name": "team", "policy": "strict"}, {"name": "lab", "policy": "loose"}]'
    settings = from_environment(LEAST | {"TUNEGATE_GOVERNED": governed, "TUNEGATE_REGISTRY_PLAIN_HTTP": "true"})

    assert ("team", "lab") == settings.namespaces
    assert ("strict", None) == (settings.policy_of("team"), settings.policy_of("elsewhere"))
    assert settings.registry_plain_http


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TUNEGATE_GOVERNED", "team"),
        ("TUNEGATE_GOVERNED", '[{"name": "team"}]'),
        ("TUNEGATE_RESYNC_SECONDS", "0"),
        ("TUNEGATE_WORKERS", "many"),
        ("TUNEGATE_TRAINER_IMAGE", ""),
        ("TUNEGATE_LEASE_DURATION_SECONDS", "1"),
        ("TUNEGATE_HUB_ENDPOINT", "hub.example"),
        ("TUNEGATE_ANCHOR_SYSLOG", "logs.example:514"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(Terminal, match=name) as error:
        from_environment(LEAST | {name: value})
    assert "BadSettings" == error.value.reason


def test_a_lease_that_others_could_take_too_early_is_refused() -> None:
    with pytest.raises(Terminal, match="LEASE_RENEW_DEADLINE_SECONDS < LEASE_DURATION_SECONDS"):
        from_environment(LEAST | {"TUNEGATE_LEASE_RENEW_DEADLINE_SECONDS": "15"})


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"TUNEGATE_ANCHOR_BUCKET": "worm"}, "ANCHOR_BUCKET and ANCHOR_STORE"),
        ({"TUNEGATE_TIMESTAMP_URL": "https://tsa.example"}, "TIMESTAMP_URL and TIMESTAMP_ROOTS"),
        (
            {"TUNEGATE_TIMESTAMP_URL": "https://tsa.example", "TUNEGATE_TIMESTAMP_ROOTS": "/roots.pem"},
            "needs ANCHOR_FOLDER or ANCHOR_BUCKET",
        ),
    ],
)
def test_anchors_that_do_not_fit_together_are_refused(more: dict[str, str], says: str) -> None:
    with pytest.raises(Terminal, match=says):
        from_environment(LEAST | more)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("TUNEGATE_RESYNC_SECOND", r"TUNEGATE_RESYNC_SECOND is no setting; did you mean TUNEGATE_RESYNC_SECONDS\?"),
        ("TUNEGATE_LEDGER_KEY", r"did you mean TUNEGATE_LEDGER_KEYS\?"),
        ("TUNEGATE_", "TUNEGATE_ is no setting"),
        ("TUNEGATE_workers", "TUNEGATE_workers is no setting"),
    ],
)
def test_a_variable_that_is_no_setting_is_refused_by_name(name: str, says: str) -> None:
    for value in ("5", ""):
        with pytest.raises(Terminal, match=says) as error:
            from_environment(LEAST | {name: value})
        assert "BadSettings" == error.value.reason
