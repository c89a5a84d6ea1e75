"""`mlbom.cdx.json`: the bill of materials of the adapter, CycloneDX 1.6 with a model card.

Source: https://cyclonedx.org/docs/1.6/json. Written by hand, since cyclonedx-python-lib has no model card; a test lets that
library validate it.
"""

from __future__ import annotations

import uuid
from typing import Any

from tunegate import __version__
from tunegate.api.evaluationsuite import unanswered
from tunegate.api.stage.results import ArmVerdict
from tunegate.evidence.images import UsedImage, used_images
from tunegate.evidence.story import Subject

Json = dict[str, Any]
MODEL, BASE, DATA, ENGINE = "adapter", "base-model", "training-data", "engine"


def bill_of_materials(about: Subject) -> Json:
    """Return the document. Its serial number comes from the release digest: one release, one bill."""
    libraries = {**about.data.libraries, **(about.training.libraries if about.training else {})}
    parts = [
        _base(about), _data(about), _engine(about), *map(_image, used_images(about.statement)),
        *(_library(*one) for one in sorted(libraries.items())),
    ]  # fmt: skip
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, about.digest)}",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "tunegate", "version": __version__}]},
            "component": _model(about),
        },
        "components": parts,
        "dependencies": [
            {"ref": MODEL, "dependsOn": [part["bom-ref"] for part in parts]},
            *({"ref": part["bom-ref"]} for part in parts),
        ],
    }


def _model(about: Subject) -> Json:
    statement = about.statement
    return {
        "type": "machine-learning-model",
        "bom-ref": MODEL,
        "group": statement.release.namespace,
        "name": statement.release.spec.model_name,
        "version": statement.served_name,
        "hashes": _hashes(statement.adapter.digest),
        "components": [
            {
                "type": "file",
                "bom-ref": f"{MODEL}/{entry.path}",
                "name": entry.path,
                "hashes": _hashes(entry.sha256),
            }
            for entry in about.files
        ],
        "modelCard": _card(about),
        "properties": [
            {"name": "tunegate:releaseDigest", "value": about.digest},
            {"name": "tunegate:adapterManifestDigest", "value": statement.adapter.manifest_digest},
        ],
    }


def _card(about: Subject) -> Json:
    spec, result = about.statement.release.spec, about.evaluation
    against = [
        {
            "type": f"{result.metric} minus that of {_named(arm, result.questions)}",
            "value": str(arm.difference),
            "confidenceInterval": {"lowerBound": str(arm.lower), "upperBound": str(arm.upper)},
        }
        for arm in result.arms
    ]
    scores = [{"type": name, "value": str(value)} for name, value in result.tuned.items()]
    return {
        "modelParameters": {"approach": {"type": "supervised"}, "datasets": [{"ref": DATA}]},
        "quantitativeAnalysis": {"performanceMetrics": [*scores, *against]},
        "considerations": {
            "useCases": [spec.intended_use],
            "ethicalConsiderations": [{"name": f"Risk stated by the requester: {spec.risk}"}],
        },
    }


def _named(arm: ArmVerdict, questions: int) -> str:
    silent = unanswered(arm.name, arm.answered, questions)
    return f"{arm.name}, which {silent} questions" if silent else arm.name


def _base(about: Subject) -> Json:
    base = about.statement.base_model
    return {
        "type": "machine-learning-model",
        "bom-ref": BASE,
        "name": base.name,
        **({"publisher": base.publisher} if base.publisher else {}),
        "licenses": _license(base.license),
        "hashes": _hashes(base.manifest_digest),
    }


def _data(about: Subject) -> Json:
    data, origin = about.statement.data, about.data.origin
    steward = {"governance": {"stewards": [{"contact": {"name": data.steward}}]}} if data.steward else {}
    return {
        "type": "data",
        "bom-ref": DATA,
        "name": origin.uri,
        "licenses": _license(data.license),
        "hashes": _hashes(data.redacted_digest or data.digest),
        "data": [
            {
                "type": "dataset",
                "name": data.source,
                "classification": data.classification,
                "contents": {"properties": [{"name": "tunegate:rows", "value": str(data.rows)}]},
                **steward,
            }
        ],
    }


def _engine(about: Subject) -> Json:
    name, _, digest = about.statement.engine.profile.image.partition("@")
    return {"type": "container", "bom-ref": ENGINE, "name": name, "hashes": _hashes(digest)}


def _image(one: UsedImage) -> Json:
    return {
        "type": "container",
        "bom-ref": f"image/{one.name}@{one.digest}",
        "name": one.name,
        "hashes": _hashes(one.digest),
        "properties": [{"name": "tunegate:usedBy", "value": use} for use in one.uses],
    }


def _library(name: str, version: str) -> Json:
    return {
        "type": "library",
        "bom-ref": f"library/{name}",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name.lower().replace('_', '-')}@{version}",
    }


def _license(text: str) -> list[Json]:
    """A name, never an SPDX id: what people wrote may be a contract."""
    return [{"license": {"name": text}}]


def _hashes(digest: str) -> list[Json]:
    return [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}]
