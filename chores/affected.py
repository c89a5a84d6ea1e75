"""Lists the test files that a change can have broken, by their imports and by the files that they name.

    python -m chores.affected [--base main]

Prints one path per line, and the counts on standard error. The change is the difference between the working tree, including new files, and
the commit where this branch left the base.

A test file is affected if it imports a changed module, directly or not. These count as imports too:

- to be in the folder of a `conftest.py`;
- outside the product: to name a module in a string, as in a test that starts `python -m tunegate.gateway`;
- outside the product: to name a file that is not a module, or its folder: a page, a template, an example, a script.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import grimp

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "tunegate": "operator", "tunegate_trainer": "trainer-image", "tunegate_local": "local-cluster",
    "tunegate_demo": "demo", "chores": ".", "tests": ".",
}  # fmt: skip
"""Our packages and the folders that contain them."""
PRODUCT = ("tunegate", "tunegate_trainer")
"""These read no file of the checkout. Names of modules in their strings are prose or commands of pods."""
CONCERNS_ALL = {"pyproject.toml", "uv.lock", "setup.sh"}
DOTTED = re.compile(r"\b[a-z_]+(?:\.[a-z_0-9]+)+\b")
STARTED = re.compile(r"""["']-m["'], ["']([\w.]+)["']""")
QUOTED = re.compile(r"""["']([\w./-]+)["']""")
JOINED = re.compile(r"""["'] / f?["']""")


def changed_files(root: Path, base: str) -> list[str]:
    """Return the paths that changed since HEAD left ``base``, including deleted and new files."""
    left = _git(root, "merge-base", "HEAD", base)[0]
    differ = _git(root, "diff", "--name-only", "--no-renames", left)
    return sorted({*differ, *_git(root, "ls-files", "--others", "--exclude-standard")})


def _git(root: Path, *arguments: str) -> list[str]:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout.splitlines()


@dataclass(frozen=True)
class Sources:
    """All modules of our packages, with their imports and texts."""

    graph: grimp.ImportGraph
    texts: Mapping[str, str]
    paths: Mapping[str, str]
    """Path of each module, relative to the root."""
    packages: Mapping[str, str]
    product: Sequence[str]

    @classmethod
    def read(
        cls, root: Path = ROOT, packages: Mapping[str, str] = PACKAGES, product: Sequence[str] = PRODUCT
    ) -> Sources:
        """Read the packages below ``root``; they must be importable."""
        graph = grimp.build_graph(*packages, cache_dir=None)
        files = {name: _files(name, packages) for name in graph.modules}
        paths = {
            name: str(path)
            for name, (module, package) in files.items()
            for path in (module, package)
            if (root / path).is_file()
        }
        texts = {name: (root / path).read_text() for name, path in paths.items()}
        sources = cls(graph, texts, paths, packages, product)
        sources._add_indirect_imports()
        return sources

    def _add_indirect_imports(self) -> None:
        for name, text in self._readers():
            started = {f"{module}.__main__" for module in STARTED.findall(text)}
            for imported in {*DOTTED.findall(text), *STARTED.findall(text), *started} & self.paths.keys() - {name}:
                self.graph.add_import(importer=name, imported=imported)
        for name in self.paths:
            package, _, last = name.rpartition(".")
            if last == "conftest":
                for below in self.paths:
                    if below.startswith(f"{package}.") and below != name:
                        self.graph.add_import(importer=below, imported=name)

    def _readers(self) -> Iterator[tuple[str, str]]:
        """Yield name and text of each module that may read files of the checkout."""
        yield from ((name, text) for name, text in self.texts.items() if name.partition(".")[0] not in self.product)

    @property
    def tests(self) -> list[str]:
        """Paths of all test files."""
        return sorted(path for path in self.paths.values() if PurePosixPath(path).name.startswith("test_"))

    def affected(self, changed: Iterable[str]) -> list[str]:
        """Return the paths of the test files that a change of these files can have broken."""
        changed = list(changed)
        if CONCERNS_ALL & set(changed):
            return self.tests
        first = {name for path in changed for name in self._concerned(path)}
        reached = first.union(*(self.graph.find_downstream_modules(name) for name in first))
        return sorted({self.paths[name] for name in reached & self.paths.keys()} & set(self.tests))

    def _concerned(self, path: str) -> Iterator[str]:
        """Yield the modules that a change of this file affects directly."""
        for name, own in self.paths.items():
            if own == path:
                yield name
                if PurePosixPath(path).name == "__init__.py":
                    yield from (below for below in self.paths if below.startswith(f"{name}."))
        for name, text in self._readers():
            if any(self._names(quoted, path) for quoted in QUOTED.findall(JOINED.sub("/", text))):
                yield name
        yield from self._importers_of_missing(path)

    def _importers_of_missing(self, path: str) -> Iterator[str]:
        """Yield the modules that may import a deleted module, given the path of its file."""
        file = PurePosixPath(path)
        if file.suffix != ".py" or path in self.paths.values():
            return
        for package, folder in self.packages.items():
            if file.is_relative_to(PurePosixPath(folder) / package):
                parent = ".".join(file.parent.relative_to(folder).parts)
                last = re.compile(rf"\b{re.escape(file.stem)}\b")
                yield from (name for name, text in self.texts.items() if parent in text and last.search(text))

    def _names(self, quoted: str, path: str) -> bool:
        """Is the string this path, its end, or a folder above it? Folders of packages are excluded: strings name them to set PYTHONPATH."""
        folder = quoted.rstrip("/")
        below = folder not in self.packages.values() and path.startswith(f"{folder}/")
        return below or path == quoted or path.endswith(f"/{quoted}")


def _files(module: str, packages: Mapping[str, str]) -> tuple[PurePosixPath, PurePosixPath]:
    """Return the possible paths of a module: as a file, and as a package."""
    path = PurePosixPath(packages[module.partition(".")[0]]) / module.replace(".", "/")
    return path.with_suffix(".py"), path / "__init__.py"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="chores.affected", description="List the tests that a change concerns.")
    parser.add_argument("--base", default="main", help="the branch or commit to compare with (main)")
    options = parser.parse_args(arguments)
    try:
        changed = changed_files(ROOT, options.base)
    except subprocess.CalledProcessError as error:
        sys.exit(f"cannot compare with {options.base}: {error.stderr.strip()}")
    sources = Sources.read()
    affected = sources.affected(changed)
    print(f"changed files: {len(changed)}; test files: {len(affected)} of {len(sources.tests)}", file=sys.stderr)
    for path in affected:
        print(path)


if __name__ == "__main__":
    main()
