"""Building the container images with buildah and pushing them to the node's registry; what has not changed is skipped."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunegate_local import (
    binaries,
    container_runtime,
    digests,
    image_layout,
    image_registry,
    images_index,
    package_index,
    preflight,
    root_filesystem,
    settings,
)
from tunegate_local.command import run, run_logged, succeeds
from tunegate_local.failure import Failure
from tunegate_local.progress import say, step

OWN = settings.SOURCE / "images"
CONTEXTS = settings.CACHE / "contexts"
STORAGE = settings.CACHE / "buildah"
KEYS = settings.CACHE / "image-keys.json"
PUSHED = settings.CACHE / "images-pushed.json"
"""References of what was last pushed to a registry of the user's; beside images.json, which stays the local cluster's."""
LOCK = (settings.REPOSITORY / "pyproject.toml", settings.REPOSITORY / "uv.lock")
CODE = settings.REPOSITORY / "operator" / "tunegate"
TRAINER_BUILD = ("prepare_cpu_image.py", "lora_on_cpu.py")
TRAINER_CODE = settings.REPOSITORY / "trainer-image" / "tunegate_trainer"


@dataclass(frozen=True)
class Recipe:
    """One image: its Dockerfile, the directory that it copies from, what of it counts as input, and how long it takes."""

    dockerfile: Path
    context: Path
    inputs: tuple[Path, ...]
    expected: str
    on_base: bool = False
    prepare: Callable[[Path], None] | None = None


def _program_context(program: Callable[[], Path], ensure: Callable[[], None]) -> Callable[[Path], None]:
    def prepare(context: Path) -> None:
        ensure()
        context.mkdir(parents=True, exist_ok=True)
        shutil.copy2(program().resolve(), context / program().name)

    return prepare


RECIPES: dict[str, Recipe] = {
    "pause": Recipe(
        OWN / "pause" / "Dockerfile",
        CONTEXTS / "pause",
        (CONTEXTS / "pause" / "pause",),
        "2 s",
        prepare=_program_context(binaries.pause, binaries.ensure_pause),
    ),
    "registry": Recipe(
        OWN / "registry" / "Dockerfile",
        CONTEXTS / "registry",
        (CONTEXTS / "registry" / "registry",),
        "2 s",
        prepare=_program_context(binaries.registry, binaries.ensure_registry),
    ),
    "base": Recipe(
        OWN / "base" / "Dockerfile",
        CONTEXTS / "base",
        (CONTEXTS / "base" / "rootfs.key",),
        "1 minute",
        prepare=root_filesystem.ensure,
    ),
    "operator": Recipe(
        settings.REPOSITORY / "operator" / "Dockerfile",
        settings.REPOSITORY,
        (*LOCK, CODE),
        "1 minute the first time, 5 s after a change of code",
        on_base=True,
    ),
    "mlflow": Recipe(OWN / "mlflow" / "Dockerfile", settings.REPOSITORY, LOCK, "1 minute the first time", on_base=True),
    "trainer": Recipe(
        settings.REPOSITORY / "trainer-image" / "Dockerfile.cpu",
        settings.REPOSITORY,
        (*LOCK, CODE, TRAINER_CODE, *(TRAINER_CODE.parent / name for name in TRAINER_BUILD)),
        "8 minutes the first time, 10 s after a change of code",
        on_base=True,
    ),
}
NAMES = tuple(RECIPES)


def build(names: Sequence[str]) -> None:
    """Build and push the named images in the order of their needs."""
    wanted = set(names)
    if any(RECIPES[name].on_base for name in wanted):
        wanted.add("base")
    before = _keys()
    for name in NAMES:
        if name in wanted:
            ensure(name)
    if _keys() != before:
        # Layers that no image has any more are gigabytes after a change of the lock file. One that a container uses stays.
        succeeds(_buildah("rmi", "--prune"), environment=_environment())
        container_runtime.keep_images(images_index.read().values())


def ensure(name: str) -> None:
    recipe = RECIPES[name]
    if recipe.prepare is not None:
        recipe.prepare(recipe.context)
    _require_inputs(name, recipe)
    base = images_index.read()["base"] if recipe.on_base else ""
    key = digests.of([recipe.dockerfile, *recipe.inputs], [base])
    reference = images_index.read().get(name, "")
    if _keys().get(name) == key and image_registry.holds(reference):
        return
    preflight.require_disk(settings.CACHE, _disk_for(name), f"the {name} image")
    with step(f"image {name}", recipe.expected):
        _build(name, recipe, base)
        reference = _push(name, f"{settings.IMAGE_PREFIX}/{name}")
    images_index.put(name, reference)
    KEYS.write_text(json.dumps({**_keys(), name: key}, indent=2) + "\n")


def _require_inputs(name: str, recipe: Recipe) -> None:
    for path in (recipe.dockerfile, *recipe.inputs):
        if not path.exists():
            raise Failure(f"image {name}", f"{path} is missing", "check out the whole repository")


def _disk_for(name: str) -> int:
    """A first trainer image brings gigabytes of libraries; after that its layers are there and only code changes."""
    first = name == "trainer" and name not in images_index.read()
    return preflight.DISK_FOR_IMAGES if first else preflight.DISK_FOR_CLUSTER


def _keys() -> dict[str, str]:
    if not KEYS.exists():
        return {}
    keys: dict[str, str] = json.loads(KEYS.read_text())
    return keys


def _buildah(*words: str) -> list[str]:
    return ["buildah", "--root", str(STORAGE / "root"), "--runroot", str(STORAGE / "run"), *words]


def _environment() -> dict[str, str]:
    """buildah's temporary files and build caches belong into our cache directory, and the driver that copies nothing."""
    temporary = STORAGE / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    return {"TMPDIR": str(temporary), "STORAGE_DRIVER": "overlay", "BUILDAH_ISOLATION": "chroot"}


def _local_tag(name: str) -> str:
    return f"localhost/tunegate/{name}:latest"


def _build(name: str, recipe: Recipe, base: str) -> None:
    tools = CONTEXTS / "tools"
    tools.mkdir(parents=True, exist_ok=True)
    arguments = ["bud", "--layers", "--network", "host", "--tls-verify=false", "--file", str(recipe.dockerfile)]
    if recipe.on_base:
        shutil.copy2(binaries.ensure_uv(), tools / "uv")
        arguments += ["--build-arg", f"BASE={base}", "--build-context", f"tools={tools}"]
    ignored = recipe.dockerfile.with_name(recipe.dockerfile.name + ".dockerignore")
    if ignored.exists():
        arguments += ["--ignorefile", str(ignored)]
    log = settings.LOGS / f"image-{name}.log"
    with tempfile.TemporaryDirectory() as place:
        if recipe.on_base:
            arguments += package_index.write_secrets(Path(place))
        command = _buildah(*arguments, "--tag", _local_tag(name), str(recipe.context))
        run_logged(command, log, environment=_environment(), next_step="see the log; then run `images` again")


def _push(name: str, repository: str) -> str:
    """Push to the node's registry what it lacks and return `repository@digest`.

    zstd at its fastest: gzip takes five times as long for gigabytes of libraries, and buildah pushes nothing uncompressed.
    """
    with tempfile.NamedTemporaryFile("r") as digest:
        arguments = ["push", "--digestfile", digest.name, "--compression-format", "zstd", "--compression-level", "1"]
        command = _buildah(*arguments, "--tls-verify=false", _local_tag(name), f"docker://{repository}:latest")
        run(command, environment=_environment(), next_step="is the node's registry up? `start` starts it")
        return f"{repository}@{digest.read().strip()}"


def push_elsewhere(names: Sequence[str], registry: str) -> None:
    """Copy from the node's registry to one of the user's, and write the references to ``PUSHED``."""
    built = images_index.read()
    index = {}
    for name in names:
        with step(f"pushing {name} to {registry}"):
            index[name] = _copy(built[name], f"{registry}/{name}", insecure=_on_this_machine(registry))
    PUSHED.write_text(json.dumps(index, indent=2) + "\n")
    say(f"  references: {PUSHED}")


def _copy(reference: str, repository: str, *, insecure: bool) -> str:
    """Copy an image with its layers as they are; the tag `latest` there is a list of this one image.

    A list, because buildah compresses an image of its own storage again for every registry, and copies as they are only the
    images that a list names.
    """
    environment = _environment()
    advice = "is the registry reachable, and are you logged in to it?"
    with tempfile.TemporaryDirectory(dir=environment["TMPDIR"]) as place:
        image_layout.write(Path(place) / "layout", reference)
        listing = f"localhost/tunegate/copies:{Path(place).name}"
        run(_buildah("manifest", "create", listing), environment=environment)
        try:
            added = _buildah("manifest", "add", listing, f"oci:{place}/layout")
            run(added, environment=environment)
            transport = ["--tls-verify=false"] if insecure else []
            pushed = _buildah("manifest", "push", "--all", *transport, listing, f"docker://{repository}:latest")
            run(pushed, environment=environment, next_step=advice)
        finally:
            run(_buildah("manifest", "rm", listing), environment=environment)
    return f"{repository}@{reference.rpartition('@')[2]}"


def _on_this_machine(registry: str) -> bool:
    """Only a registry on loopback is spoken to without TLS."""
    return registry.split("/", maxsplit=1)[0].rpartition(":")[0] in {"localhost", settings.LOOPBACK}
