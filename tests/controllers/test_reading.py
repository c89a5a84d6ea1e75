"""A list is read although one object of it cannot be."""

from __future__ import annotations

import logging

import pytest

from tests.support.builders import make_finetunejob
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.controllers.reading import parsed


def test_an_object_that_cannot_be_read_is_named_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    odd = make_finetunejob("odd", method={"type": "LoRA", "rank": "sixteen"}, intent={})
    with caplog.at_level(logging.ERROR):
        found = parsed(FineTuneJob, [make_finetunejob("first"), odd, {}, make_finetunejob("last")])
    assert [one.name for one in found] == ["first", "last"]
    left_out = [vars(record)["fields"] for record in caplog.records]
    assert [(one["kind"], one["named"]) for one in left_out] == [("FineTuneJob", "team/odd"), ("FineTuneJob", "/")]
    assert left_out[0]["wrong_fields"] == ["spec.intent.taskType", "spec.method.rank"]
