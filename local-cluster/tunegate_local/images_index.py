"""images.json: which image, by digest, stands for each name. Written by the image build, read by everybody else."""

from __future__ import annotations

import json

from tunegate_local import lock, settings


def read() -> dict[str, str]:
    if not settings.IMAGES_FILE.exists():
        return {}
    index: dict[str, str] = json.loads(settings.IMAGES_FILE.read_text())
    return index


def put(name: str, reference: str) -> None:
    with lock.held(settings.CACHE / "index", "list of images"):
        index = {**read(), name: reference}
        unfinished = settings.IMAGES_FILE.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(dict(sorted(index.items())), indent=2) + "\n")
        unfinished.rename(settings.IMAGES_FILE)


def pause_image() -> str:
    return read()["pause"]
