"""The data set without what was found in it: written, looked through again, and only then put into the job's workspace.

The source stays where it is. What is written has one row for each of its rows, in the same order, with the conversation,
the tools and the row's group and nothing else. The same source gives the same bytes, so a stage that was killed does it
again. A group goes by the number of its first row: its name could be somebody's.
"""

from __future__ import annotations

import errno
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy

from tunegate.api.datachecks import ALWAYS_BLOCKING, COMPARING, REDACTABLE, CheckSetting, DataCheck
from tunegate.api.numbers import agreeing
from tunegate.api.stage.findings import Finding, RedactedData
from tunegate.api.stage.layout import REDACTED_FILE
from tunegate.digests import file_digest
from tunegate_trainer.checks.redaction import redact
from tunegate_trainer.data.rows import Row, RowStream
from tunegate_trainer.data.shards import Shards, find_shards
from tunegate_trainer.endings import BadInput, Unavailable
from tunegate_trainer.files import sync
from tunegate_trainer.findings import Place, block
from tunegate_trainer.validation.data_checks import DataFacts, Kinds

OF_THE_SOURCE: tuple[DataCheck, ...] = ("UnusedRejected", *REDACTABLE)
"""Checks of which only what they found in the source counts."""


@dataclass(frozen=True)
class Cut:
    """What is to be cut out of which rows."""

    checks: frozenset[DataCheck]
    rows: frozenset[int]
    groups: Any
    """For every row of the source, the number of the first row of its group."""
    found: dict[DataCheck, Kinds]
    """What the checks found in the source."""

    @staticmethod
    def of(facts: DataFacts, settings: Sequence[CheckSetting]) -> Cut | None:
        """Return what is to be cut, or nothing: when nothing was found, and when training refuses the data anyway."""
        checks = frozenset(setting.name for setting in settings if setting.action == "Redact")
        rows = {number for check in checks for numbers in facts.found.get(check, {}).values() for number in numbers}
        if not rows or any(facts.count(check) for check in ALWAYS_BLOCKING):
            return None
        _, first, group = numpy.unique(facts.rows["group"], return_index=True, return_inverse=True)
        return Cut(checks, frozenset(rows), facts.rows["number"][first][group], facts.found)


@dataclass(frozen=True)
class Redacted:
    """What came of it."""

    facts: DataFacts
    """Of the rows that training sees, with what was found in the source only."""
    data: RedactedData | None
    findings: list[Finding]
    shards: Shards | None
    """What training would see, to be read again in this pod's own space; None: the copy was not kept."""


def redact_data(
    cut: Cut,
    stream: RowStream,
    group_field: str | None,
    workspace: Path,
    scratch: Path,
    read: Callable[[RowStream], DataFacts],
) -> Redacted:
    """Write the rows to ``scratch`` and keep them in ``workspace`` if the checks, by ``read``, find nothing in them any more.

    The digest is that of what was looked through here: the workspace is a volume that others may reach. Raises ``BadInput``
    for a workspace that is not there and ``Unavailable`` when it or the node's disk is full.
    """
    own = scratch / REDACTED_FILE
    with _room("the node's disk has no room for the redacted data set"):
        replaced = _write(own, cut, stream, group_field)
    shards = find_shards("redacted data set", own)
    after = read(RowStream(shards))
    findings = _failures(cut, after, stream.shards.place)
    if findings:
        own.unlink()
        return Redacted(_together(cut.found, after), None, findings, None)
    digest = file_digest(own)
    _keep(own, workspace)
    data = RedactedData(digest=digest, rows=len(cut.rows), replaced=dict(sorted(replaced.items())))
    return Redacted(_together(cut.found, after), data, [], shards)


def _keep(own: Path, workspace: Path) -> None:
    """Put a copy into the workspace: whole or not at all."""
    draft = workspace / f"draft-{REDACTED_FILE}"
    try:
        with _room("the workspace has no room for the redacted data set: ask for a larger workspace.size"):
            shutil.copyfile(own, draft)
            sync(draft)
            draft.replace(workspace / REDACTED_FILE)
            sync(workspace)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EACCES, errno.EROFS):
            raise BadInput(f"workspace {workspace} is missing or not writable") from error
        raise
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _room(message: str) -> Iterator[None]:
    """Turn a full disk into ``Unavailable`` with the message."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Unavailable(message) from error
        raise


def _write(own: Path, cut: Cut, stream: RowStream, group_field: str | None) -> Counter[str]:
    replaced: Counter[str] = Counter()
    with own.open("w", encoding="utf-8") as file:
        for row, group in zip(stream, cut.groups, strict=True):
            if not isinstance(row, Row):
                raise BadInput(f"{stream.shards.what}: it changed while it was read")
            if row.number in cut.rows:
                row, counts = redact(row, cut.checks)
                replaced += counts
            file.write(_line(row, group_field, int(group)))
    return replaced


def _line(row: Row, group_field: str | None, group: int) -> str:
    fields: dict[str, Any] = {"messages": row.messages}
    if row.tools:
        fields["tools"] = row.tools
    if group_field and row.fields.get(group_field) is not None:
        fields[group_field] = group
    return json.dumps(fields, ensure_ascii=False) + "\n"


def _failures(cut: Cut, after: DataFacts, place: Place) -> list[Finding]:
    """Refuse rows in which something is still found. Not under the check's own name: nobody can waive this."""
    return [
        block(
            "Redaction",
            f"{len(numbers)} {agreeing('[row still holds|rows still hold]', len(numbers))} what was to be replaced: {kind}; change them in the data itself",
            count=len(numbers), rows=numbers, place=place,
        )
        for check in sorted(cut.checks) for kind, numbers in after.found.get(check, {}).items()
    ]  # fmt: skip


def _together(before: dict[DataCheck, Kinds], after: DataFacts) -> DataFacts:
    found = {**after.found, **{check: before.get(check, {}) for check in OF_THE_SOURCE}}
    for check in COMPARING:
        # A leaked question may be one that was redacted before or one that was not.
        both = (before.get(check, {}), after.found.get(check, {}))
        suites = dict.fromkeys(name for kinds in both for name in kinds)
        found[check] = {name: sorted({row for kinds in both for row in kinds.get(name, ())}) for name in suites}
    return replace(after, found=found)
