"""`environment.json` and `manifest.json`: with what the adapter was made, and which files it has."""

from __future__ import annotations

from typing import Any

from tunegate.evidence.story import Story

Json = dict[str, Any]


def environment(story: Story) -> Json:
    """Return images, versions, hardware, seeds and hyper-parameters, as results and release statement hold them."""
    statement, data, training = story.statement, story.data, story.training
    return {
        "images": {stage: [one.to_dict() for one in images] for stage, images in statement.job.images.items()},
        "operator": statement.operator_image,
        "engine": {"digest": statement.engine.digest, "profile": statement.engine.profile.to_dict()},
        "baseModel": statement.base_model.to_dict(),
        "validation": {
            "codeDigest": data.code_digest,
            "libraries": data.libraries,
            "chatTemplateDigest": data.chat_template_digest,
            "split": data.split.to_dict(),
        },
        "training": None
        if training is None
        else {
            "hyperparameters": training.hyperparameters,
            "libraries": training.libraries,
            "hardware": training.hardware,
            "processes": training.world_size,
            "seconds": training.seconds,
        },
        "evaluation": {"seed": story.evaluation.seed, "resamples": story.evaluation.resamples},
    }


def manifest(story: Story) -> Json:
    """Return where the adapter lies and every file of it with size and SHA-256."""
    adapter = story.statement.adapter
    return {
        "repository": adapter.repository,
        "digest": adapter.digest,
        "manifestDigest": adapter.manifest_digest,
        "files": [entry.to_dict() for entry in story.files],
    }
