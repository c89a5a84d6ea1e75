"""Checks of training data: their names, what each does unless told otherwise, and how policy and job are combined."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, get_args

from pydantic import Field

from tunegate.api.markers import ApiModel, cel, list_map, rules
from tunegate.api.numbers import Fraction

DataCheck = Literal[
    "BrokenRows", "Template", "ControlTokens", "InvisibleCharacters", "TooLong", "Duplicates", "NearDuplicates",
    "Contradictions", "CopiedInput", "Refusals", "LanguageMix", "LabelNoise", "Triggers", "UnusedRejected", "Overlap",
    "SharedText", "PersonalData", "HealthData", "Secrets",
]  # fmt: skip
CheckAction = Literal["Off", "Warn", "Redact", "Block"]
"""From the loosest to the strictest."""
COMPARING: tuple[DataCheck, ...] = ("Overlap", "SharedText")
"""Look for the questions of suites in the rows."""
ALWAYS_BLOCKING: tuple[DataCheck, ...] = ("BrokenRows", "Template", "ControlTokens")
"""Training refuses such rows: no policy can allow them."""
REDACTABLE: tuple[DataCheck, ...] = ("PersonalData", "HealthData", "Secrets")
"""What these find can be cut out of a text."""


class CheckSetting(ApiModel):
    """What a check does when it finds something."""

    model_config = rules(
        cel(
            f"self.action != 'Redact' || self.name in {list(REDACTABLE)!r}",
            f"action Redact is for {', '.join(REDACTABLE[:-1])} and {REDACTABLE[-1]}: what other checks find is no piece "
            "of text that could be cut out",
        ),
        any_of=[
            {"properties": {"action": {"enum": ["Off", "Warn", "Block"]}}},
            {"properties": {"maxShare": {"maximum": 0, "pattern": r"^0(\.0+)?$"}}},
        ],
    )

    name: DataCheck
    action: CheckAction
    max_share: Fraction = "0"
    """Up to this share of the rows a finding only warns where the action is Block. With Redact it stays 0: every row in
    which something is found is redacted."""


CheckSettings = Annotated[list[CheckSetting], Field(max_length=32, json_schema_extra=list_map("name"))]

DEFAULTS: dict[DataCheck, CheckSetting] = {
    setting.name: setting
    for setting in (
        CheckSetting(name="BrokenRows", action="Block"),
        CheckSetting(name="Template", action="Block"),
        CheckSetting(name="ControlTokens", action="Block"),
        CheckSetting(name="InvisibleCharacters", action="Warn"),
        CheckSetting(name="TooLong", action="Block", max_share="0.05"),
        CheckSetting(name="Duplicates", action="Warn"),
        CheckSetting(name="NearDuplicates", action="Warn"),
        CheckSetting(name="Contradictions", action="Block", max_share="0.05"),
        CheckSetting(name="CopiedInput", action="Block", max_share="0.2"),
        CheckSetting(name="Refusals", action="Warn"),
        CheckSetting(name="LanguageMix", action="Warn"),
        CheckSetting(name="LabelNoise", action="Warn"),
        CheckSetting(name="Triggers", action="Warn"),
        CheckSetting(name="UnusedRejected", action="Warn"),
        CheckSetting(name="Overlap", action="Block"),
        CheckSetting(name="SharedText", action="Warn"),
        CheckSetting(name="PersonalData", action="Warn"),
        CheckSetting(name="HealthData", action="Block"),
        CheckSetting(name="Secrets", action="Block"),
    )
}
"""Every check, in the order in which findings are shown."""

_SEVERITY: tuple[CheckAction, ...] = get_args(CheckAction)


def effective(policy: Iterable[CheckSetting], job: Iterable[CheckSetting]) -> list[CheckSetting]:
    """Return the setting of every check: the policy's, or the default; the job can only make it stricter."""
    settings = dict(DEFAULTS)
    settings.update({setting.name: setting for setting in policy if setting.name not in ALWAYS_BLOCKING})
    for wish in job:
        settings[wish.name] = _stricter(settings[wish.name], wish)
    return list(settings.values())


def _stricter(first: CheckSetting, second: CheckSetting) -> CheckSetting:
    action = max(first.action, second.action, key=_SEVERITY.index)
    if {first.action, second.action} == {"Redact", "Block"}:
        # A share would leave rows as they are that one of the two wants redacted.
        return CheckSetting(name=first.name, action=action)
    # Of two that block, the smaller share counts; a share of one that does not block says nothing about blocking.
    shares = [setting.max_share for setting in (first, second) if setting.action == action]
    return CheckSetting(name=first.name, action=action, max_share=min(shares, key=float))
