"""The table of checks in docs/data.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from tunegate.api.datachecks import DEFAULTS, CheckSetting
from tunegate_trainer.data.forms import NEEDED

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text()


def said(setting: CheckSetting) -> str:
    share = float(setting.max_share)
    return f"{setting.action} above {share:.0%} of the rows".replace("%", " %") if share else setting.action


def test_every_check_is_explained_with_its_default() -> None:
    rows = re.findall(r"^\| (\w+) \| ((?:Off|Warn|Redact|Block)[^|]*) \|", PAGE, re.MULTILINE)

    assert rows == [(name, said(setting)) for name, setting in DEFAULTS.items()]


def test_every_form_is_explained() -> None:
    rows = re.findall(r"^\| (\w+) \| `", PAGE, re.MULTILINE)

    assert rows == list(NEEDED)
