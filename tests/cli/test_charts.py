"""`plot`: what is drawn from a training's log or result, and what is compared of two jobs."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from typing import Any

from tests.support.builders import DIGEST, make_finetunejob
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.cli.jobs.compare import compared
from tunegate.cli.jobs.curves import Bar, Curves, bars, of_log
from tunegate.cli.jobs.svg_chart import svg
from tunegate.cli.jobs.text_chart import ROWS, lines_of_bars, lines_of_curves

CURVES = Curves(tuple((step, 2.0 / step) for step in range(1, 31)), ((10, 0.5), (20, 0.25), (30, 0.3)), best_step=20)
OTHER_DIGEST = "sha256:" + "1" * 64


def line(**fields: Any) -> str:
    return json.dumps({"level": "info", "message": "step", "event": "TrainingStep", **fields})


def test_losses_are_read_from_the_log_and_a_repeated_step_counts_as_it_was_last() -> None:
    told = [
        "Loading weights: 100%", '{"TrainingStep"', json.dumps({"event": "RowsRead", "step": 9, "train/loss": 9}),
        line(step=1, **{"train/loss": 2.5, "train/learning_rate": 0.1}), line(step=2, **{"train/loss": 1.5}),
        line(step=2, **{"train/development_loss": 1.25}), line(step=2, **{"train/loss": 1.75}),
        line(step=3, **{"train/loss": "nan"}),
    ]  # fmt: skip
    assert of_log(told) == Curves(((1, 2.5), (2, 1.75)), ((2, 1.25),))
    assert not of_log(["nothing of it"]).known


def test_the_chart_has_both_curves_the_range_and_the_step_that_was_kept() -> None:
    lines = lines_of_curves(CURVES, 80)
    assert len(lines) == ROWS + 3
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("  2.0000 │  ·")
    assert lines[ROWS - 1].startswith("  0.0667 │")
    assert sum(text.count("o") for text in lines[:ROWS]) == 3
    assert lines[ROWS + 1].endswith("step 30")
    assert "step 20 was kept" in lines[-1]


def test_a_chart_of_one_point_or_of_equal_losses_can_be_drawn() -> None:
    for points in (((1, 0.5),), ((0, 0.5), (10, 0.5))):
        assert "·" in "".join(lines_of_curves(Curves(points), 80))


def test_bars_show_the_tuned_model_first_then_alternatives_by_score() -> None:
    shown = bars(judged())
    assert [one.name for one in shown] == ["tuned", "Regex", "BasePlain"]
    lines = lines_of_bars(shown, 60)
    assert lines[0].endswith("0.800 Pass")
    assert lines[0].count("█") > lines[1].count("█") > lines[2].count("█") == 0
    assert bars(FineTuneJob.model_validate(make_finetunejob())) == []


def test_the_image_is_whole_xml_and_nobody_s_words_become_markup() -> None:
    image = svg("team/<script>", CURVES, [Bar("tuned & true", 0.8, "Pass")])
    root = ElementTree.fromstring(image)  # noqa: S314 - our own
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = ["".join(one.itertext()) for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"team/<script>", "tuned & true", "0.800 Pass", "step 20 was kept"} <= set(texts)
    assert svg("nothing", Curves(), []).endswith("</svg>\n")


def judged(name: str = "first", *, suite: str = DIGEST, **method: Any) -> FineTuneJob:
    arms = [
        {"name": one, "score": score, "difference": "0.1", "lower": "0", "upper": "0.2", "outcome": "Pass"}
        for one, score in (("BasePlain", "0.0000"), ("Regex", "0.4500"))
    ]
    gate = {
        "outcome": "Pass", "metric": "ExactMatch", "tuned": "0.8000", "questions": 80, "adapterDigest": DIGEST, "arms": arms,
    }  # fmt: skip
    made = make_finetunejob(name, method={"type": "LoRA", **method})
    made["metadata"]["creationTimestamp"] = "2026-11-24T12:00:00Z"
    status = {
        "phase": "Succeeded", "gate": gate, "suiteDataDigest": suite, "completionTime": "2026-11-24T13:30:00Z", "cost": "1.5",
    }  # fmt: skip
    return FineTuneJob.model_validate({**made, "status": status})


def rows(part: list[dict[str, Any]]) -> dict[str, list[str]]:
    return {one["what"]: one["values"] for one in part}


def test_jobs_are_compared_by_settings_that_differ_results_and_scores() -> None:
    found = compared(judged(), judged("second", rank=32))
    assert rows(found["settings"]) == {"method.rank": ["16", "32"]}
    assert found["inputs"] == []
    assert rows(found["results"])["took"] == ["1 h 30 min", "1 h 30 min"]
    assert rows(found["scores"])["Regex, ExactMatch"] == ["0.4500", "0.4500"]
    assert found["notes"] == []


def test_scores_on_other_questions_and_jobs_that_run_are_told_apart() -> None:
    running = FineTuneJob.model_validate({**make_finetunejob("running"), "status": {"phase": "Training"}})
    assert "the questions of the suites differ" in compared(judged(), judged("second", suite=OTHER_DIGEST))["notes"][0]
    found = compared(judged(), running)
    assert found["notes"] == ["job/running has not ended: it is Training"]
    assert rows(found["scores"])["tuned, ExactMatch"] == ["0.8000", "-"]
