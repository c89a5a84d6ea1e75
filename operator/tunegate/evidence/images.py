"""The images that a job's stages ran with, each once, with what it was used for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from tunegate.api.finetunejob.status import StageName
from tunegate.release.statement import ReleaseStatement


@dataclass(frozen=True)
class UsedImage:
    """One image; ``uses`` are `<stage>/<container>`."""

    image: str
    digest: str
    uses: tuple[str, ...]

    @property
    def name(self) -> str:
        """The image without its digest."""
        return self.image.partition("@")[0]


def used_images(statement: ReleaseStatement) -> list[UsedImage]:
    """Return the images in the order of the stages."""
    found: dict[tuple[str, str], list[str]] = {}
    for stage in get_args(StageName):
        for one in statement.job.images.get(stage, ()):
            found.setdefault((one.image, one.digest), []).append(f"{stage}/{one.container}")
    return [UsedImage(image, digest, tuple(uses)) for (image, digest), uses in found.items()]
