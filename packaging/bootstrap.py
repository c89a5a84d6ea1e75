"""Begins the single file `tunegate`: unpacks what this Python needs, once, and runs it from there.

Compiled modules cannot be imported from a zip file. The folder is named after its content and made in one step, so that
nothing half written is ever run. Python 3.6 can read this much, to say which Python is needed.
"""

import hashlib
import json
import os
import platform
import shutil
import stat
import sys
import tempfile
import zipfile

MANIFEST = "files.json"
"""Target (SYSTEM-MACHINE-PYTHON) to name to the SHA-256 of its content, which is its name in the archive."""
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


def target():
    machine = platform.machine().lower()
    return "{}-{}-{}.{}".format(sys.platform, MACHINES.get(machine, machine), *sys.version_info[:2])


def cache():
    """Return the folder that keeps what was unpacked; None where there is no home to keep it in."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # no path of that specification
        base = os.path.join(os.path.expanduser("~"), ".cache")
    folder = os.path.join(base, "tunegate", "program")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError:
        return None
    return folder if own(folder) else None


def own(folder):
    """Whether nobody else can have written into a folder."""
    found = os.lstat(folder)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022


def unpack(archive, files, folder):
    for name in sorted(files):
        content = archive.read(files[name])
        if hashlib.sha256(content).hexdigest() != files[name]:
            raise SystemExit("tunegate: the file is damaged: copy it again")
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as stream:
            stream.write(content)


def unpacked(place):
    with zipfile.ZipFile(place) as archive:
        manifest = archive.read(MANIFEST)
        targets = json.loads(manifest.decode())
        if target() not in targets:
            raise SystemExit(
                "tunegate: this file runs on {}; here is {}. Install it with uv or pipx instead: docs/cli.md".format(
                    ", ".join(sorted(targets)), target()
                )
            )
        kept = cache()
        name = "{}-{}".format(hashlib.sha256(manifest).hexdigest()[:32], target())
        if kept and os.path.isdir(os.path.join(kept, name)) and own(os.path.join(kept, name)):
            return os.path.join(kept, name)
        fresh = tempfile.mkdtemp(prefix="tunegate-", dir=kept)
        unpack(archive, targets[target()], fresh)
    if kept is None:
        import atexit

        atexit.register(shutil.rmtree, fresh, ignore_errors=True)
        return fresh
    try:
        os.rename(fresh, os.path.join(kept, name))
    except OSError:  # another process was quicker
        shutil.rmtree(fresh, ignore_errors=True)
    return os.path.join(kept, name)


def main():
    sys.path.insert(0, unpacked(os.path.dirname(os.path.abspath(__file__))))
    from tunegate.cli.start import main as run

    return run()


# Signing starts a process that reads this file once more.
if __name__ == "__main__":
    sys.exit(main())
