"""Policy and job together: the policy is the floor, and some checks can't be lowered by anybody."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.api.datachecks import (
    ALWAYS_BLOCKING,
    DEFAULTS,
    REDACTABLE,
    CheckAction,
    CheckSetting,
    DataCheck,
    effective,
)

names = st.sampled_from(get_args(DataCheck))
settings = st.lists(
    st.builds(
        CheckSetting, name=names, action=st.sampled_from(["Off", "Warn", "Block"]), max_share=st.sampled_from(["0", "0.05", "1"])
    ) | st.builds(CheckSetting, name=st.sampled_from(REDACTABLE), action=st.just("Redact")),
    max_size=8,
    unique_by=lambda setting: setting.name,
)  # fmt: skip
SEVERITY = get_args(CheckAction)


def by_name(found: list[CheckSetting]) -> dict[str, CheckSetting]:
    return {setting.name: setting for setting in found}


def test_every_check_has_a_default() -> None:
    assert set(DEFAULTS) == set(get_args(DataCheck))
    assert effective([], []) == list(DEFAULTS.values())


@given(settings, settings)
def test_a_job_never_goes_below_its_policy(policy: list[CheckSetting], job: list[CheckSetting]) -> None:
    floor, result = by_name(effective(policy, [])), by_name(effective(policy, job))

    for name, setting in result.items():
        assert SEVERITY.index(setting.action) >= SEVERITY.index(floor[name].action)
        if setting.action == floor[name].action:
            assert float(setting.max_share) <= float(floor[name].max_share)
        if floor[name].action == "Redact":
            assert float(setting.max_share) == 0


@given(settings, settings)
def test_what_cannot_be_trained_on_always_blocks(policy: list[CheckSetting], job: list[CheckSetting]) -> None:
    result = by_name(effective(policy, job))

    assert all((result[name].action, result[name].max_share) == ("Block", "0") for name in ALWAYS_BLOCKING)


def test_the_policy_may_lower_a_default_and_the_job_may_raise_it_again() -> None:
    allow = CheckSetting(name="Secrets", action="Off")
    refuse = CheckSetting(name="Secrets", action="Block", max_share="0.01")

    assert by_name(effective([allow], []))["Secrets"] == allow
    assert by_name(effective([allow], [refuse]))["Secrets"] == refuse
    assert by_name(effective([], [refuse]))["Secrets"].max_share == "0"


def test_actions_go_from_the_loosest_to_the_strictest() -> None:
    assert SEVERITY == ("Off", "Warn", "Redact", "Block")


@pytest.mark.parametrize(
    ("policy", "job", "expected"),
    [
        (("Redact", "0"), ("Warn", "0"), ("Redact", "0")),
        (("Redact", "0"), ("Off", "0"), ("Redact", "0")),
        (("Redact", "0"), ("Block", "0"), ("Block", "0")),
        (("Warn", "0"), ("Redact", "0"), ("Redact", "0")),
        (("Block", "0"), ("Redact", "0"), ("Block", "0")),
        # Up to a share, a row would stay that one of the two wants redacted.
        (("Redact", "0"), ("Block", "0.05"), ("Block", "0")),
        (("Block", "0.05"), ("Redact", "0"), ("Block", "0")),
    ],
)
def test_a_job_may_block_what_its_policy_redacts_and_may_not_keep_it(
    policy: tuple[CheckAction, str], job: tuple[CheckAction, str], expected: tuple[CheckAction, str]
) -> None:
    floor, wish = (CheckSetting(name="Secrets", action=action, max_share=share) for action, share in (policy, job))

    found = by_name(effective([floor], [wish]))["Secrets"]

    assert (found.action, found.max_share) == expected
