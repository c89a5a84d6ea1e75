"""`provenance.intoto.json`: SLSA Provenance v1 of the adapter, as an in-toto statement.

Sources: https://slsa.dev/spec/v1.0/provenance and https://github.com/in-toto/attestation/blob/main/spec/v1. There is no
settled predicate for the training of models, so parameters are our own, under our build type. It is not signed: what
proves it is the release digest, from whose documents it is made.
"""

from __future__ import annotations

from typing import Any

from tunegate import __version__
from tunegate.evidence import layout
from tunegate.evidence.story import Story

Json = dict[str, Any]
BUILD_TYPE = "https://tunegate.io/fine-tune/v1alpha1"
BUILDER = "https://tunegate.io/operator"


def provenance(story: Story) -> Json:
    """Return the in-toto statement over the adapter's files."""
    statement, training = story.statement, story.training
    job = statement.job
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": entry.path, "digest": {"sha256": entry.sha256}} for entry in story.files],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "namespace": statement.release.namespace,
                    "job": job.name,
                    "source": job.source,
                    "requestedBy": job.requested_by.username,
                    "hyperparameters": training.hyperparameters if training else {},
                },
                "internalParameters": {"libraries": training.libraries if training else {}},
                "resolvedDependencies": _dependencies(story),
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": {"tunegate": __version__}},
                "metadata": {"invocationId": job.uid},
                "byproducts": [
                    {"name": one.path, "digest": {"sha256": one.digest.removeprefix("sha256:")}}
                    for one in layout.documents(statement)
                ],
            },
        },
    }


def _dependencies(story: Story) -> list[Json]:
    """Return what went in. What a digest is taken of stands beside it: few of these are single files."""
    statement, data = story.statement, story.data
    trained_on = statement.data.redacted_digest or statement.data.digest
    data_of = "file" if data.layout == "File" or statement.data.redacted_digest else "manifest of files, RFC 8785"
    named = [
        ("training data", trained_on, data_of),
        (
            f"base model {statement.base_model.name}",
            statement.base_model.manifest_digest,
            "manifest of files, RFC 8785",
        ),
        (f"suite {statement.evaluation.suite}", statement.evaluation.suite_digest, "specification, RFC 8785"),
        (f"engine {statement.engine.profile.image.split('@')[0]}", statement.engine.profile.image, "OCI manifest"),
        ("validation code", data.code_digest, "source files"),
    ]
    return [
        {"name": name, "digest": {"sha256": digest.rpartition("sha256:")[2]}, "annotations": {"digestOf": what}}
        for name, digest, what in named
    ]
