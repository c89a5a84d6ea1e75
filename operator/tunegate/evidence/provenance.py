"""`provenance.intoto.json`: SLSA Provenance v1 of the adapter, as an in-toto statement.

Sources: https://slsa.dev/spec/v1.0/provenance and https://github.com/in-toto/attestation/blob/main/spec/v1. There is no
settled predicate for the training of models, so parameters are our own, under our build type. The operator signs it when
it seals the evidence.
"""

from __future__ import annotations

from typing import Any

from tunegate import intoto
from tunegate.evidence import layout
from tunegate.evidence.images import UsedImage, used_images
from tunegate.evidence.story import Documents
from tunegate.release.statement import ReleaseStatement

Json = dict[str, Any]
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://tunegate.io/fine-tune/v1alpha1"
BUILDER = "https://tunegate.io/operator"


def provenance(statement: ReleaseStatement, documents: Documents, version: str) -> Json:
    """Return the in-toto statement over the adapter's OCI manifest and files; ``version`` is that of Tunegate."""
    job, adapter, training = statement.job, statement.adapter, documents.training
    return intoto.statement(
        [
            intoto.named(adapter.repository, adapter.digest),
            *(intoto.named(entry.path, entry.sha256) for entry in documents.files),
        ],
        PREDICATE_TYPE,
        {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "namespace": statement.release.namespace,
                    "job": job.name,
                    "source": job.source,
                    "requestedBy": job.requested_by.username,
                    "hyperparameters": training.hyperparameters if training else {},
                },
                "internalParameters": {
                    "libraries": training.libraries if training else {},
                    "hardware": training.hardware if training else {},
                },
                "resolvedDependencies": _dependencies(statement, documents),
            },
            "runDetails": {
                "builder": _builder(statement.operator_image, version),
                "metadata": {"invocationId": job.uid},
                "byproducts": [intoto.named(one.path, one.digest) for one in layout.documents(statement)],
            },
        },
    )


def _builder(image: str, version: str) -> Json:
    """Return the builder; the digest of its image is known where the chart names it by digest."""
    name, _, digest = image.partition("@sha256:")
    depends = [{"name": f"operator {name}", "digest": {"sha256": digest}}] if digest else []
    return {"id": BUILDER, "version": {"tunegate": version, "image": image}, "builderDependencies": depends}


def _dependencies(statement: ReleaseStatement, documents: Documents) -> list[Json]:
    """Return what went in. What a digest is taken of stands beside it: few of these are single files."""
    data = documents.data
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
        *(
            {"name": name, "digest": {"sha256": digest.rpartition("sha256:")[2]}, "annotations": {"digestOf": what}}
            for name, digest, what in named
        ),
        *map(_image, used_images(statement)),
    ]


def _image(one: UsedImage) -> Json:
    return {
        "name": f"image {one.name}",
        "digest": {"sha256": one.digest.removeprefix("sha256:")},
        "annotations": {"digestOf": "image, as the node named it", "usedBy": list(one.uses)},
    }
