"""A data statement as Croissant: what catalogues need, from the statement and nothing else."""

from __future__ import annotations

import json

from tests.support.stage_documents import validated
from tests.support.statements import ORIGIN, data_statement
from tests.tracking import story
from tunegate.digests import sha256
from tunegate.reconcile.mlflow_records import job_record
from tunegate.tracking.croissant import croissant


def test_a_file_is_named_with_its_digest() -> None:
    made = croissant(data_statement())

    assert made["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert (made["name"], made["license"], made["creator"]["name"]) == ("team-job", "MIT", "Ada")
    assert "240 of which train" in made["description"]
    (file,) = made["distribution"]
    assert file["@type"] == "cr:FileObject"
    assert (file["contentUrl"], file["encodingFormat"]) == ("pvc://data/rows.jsonl", "application/jsonlines")
    assert f"sha256:{file['sha256']}" == sha256(b"rows")


def test_a_folder_becomes_a_set_of_files_for_each_kind() -> None:
    made = croissant(data_statement(layout="Folder", files={".jsonl.gz": 2, ".parquet": 1}))

    sets = {one["includes"]: one["encodingFormat"] for one in made["distribution"]}
    assert sets == {"**/*.jsonl.gz": "application/gzip", "**/*.parquet": "application/vnd.apache.parquet"}
    assert {one["@type"] for one in made["distribution"]} == {"cr:FileSet"}


def test_without_a_steward_the_source_is_the_creator() -> None:
    made = croissant(data_statement(origin=ORIGIN.model_copy(update={"steward": ""})))

    assert made["creator"]["name"] == "notices of packages"


def test_the_run_shows_the_statement_and_its_croissant() -> None:
    statement = data_statement()
    record = job_record(story.finished_job(), {"Validate": validated()}, statement)

    assert set(record.reports) == {"validate.json", "data-statement.json", "croissant.json"}
    assert json.loads(record.reports["data-statement.json"]) == statement.to_dict()
    assert json.loads(record.reports["croissant.json"]) == croissant(statement)
