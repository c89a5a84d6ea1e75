"""What the ledger costs: appending, verifying an exported ledger, memory. Prints the tables of README.md.

`PYTHONPATH=operator .venv/bin/python benchmarks/ledger/ledger.py [--records 100000]`; with `--kubeconfig FILE` it appends to
a real API server instead, as the operator, and nothing that it appends can be taken away again.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import redirect_stdout
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from history import EACH, entries, objects
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.cli.main import main as cli
from tunegate.digests import canonical
from tunegate.keys import SigningKey
from tunegate.kube.client import AlreadyExists, KubeClient, ObjectRef
from tunegate.ledger.chain import DOMAIN
from tunegate.ledger.entry import AuditEntry, AuditSubject
from tunegate.ledger.seal import KeyRing
from tunegate.ledger.writer import LedgerWriter

Json = dict[str, Any]
OPERATOR = "system:serviceaccount:tunegate-system:tunegate-operator"
BETWEEN_CHECKPOINTS = 100
PAGE = 500
REPEATS = 3


class Memory:
    """A store of records without a network."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}

    async def get(self, ref: ObjectRef) -> Json | None:
        return self.objects.get(ref.name)

    async def pages(self, api_version: str, kind: str) -> AsyncIterator[list[Json]]:
        found = list(self.objects.values())
        for start in range(0, len(found), PAGE):
            yield found[start : start + PAGE]

    async def create(self, obj: Json) -> Json:
        if obj["metadata"]["name"] in self.objects:
            raise AlreadyExists(obj["metadata"]["name"])
        self.objects[obj["metadata"]["name"]] = obj
        return obj


def harmless(number: int) -> AuditEntry:
    """An entry that no object has to stand behind: it stays in a real ledger forever."""
    uid, payload = str(uuid.UUID(int=number)), {f"digest{part}": f"sha256:{number:064x}" for part in range(5)}
    return AuditEntry(
        "JobRequested", "ravi@example.org", AuditSubject("FineTuneJob", "nowhere", "benchmark", uid), uid, payload
    )


async def appended(writer: LedgerWriter, entries: Iterable[AuditEntry], ring: KeyRing | None) -> list[float]:
    """Append the entries and return the milliseconds of each."""
    taken: list[float] = []
    for one in entries:
        began = time.perf_counter()
        await writer.append(one)
        taken.append((time.perf_counter() - began) * 1000)
        if ring is not None and len(taken) % BETWEEN_CHECKPOINTS == 0:
            await writer.seal(ring)
    return taken


def spread(taken: list[float]) -> str:
    """Median, 99th percentile and largest, as cells of a table."""
    cuts = statistics.quantiles(taken, n=100)
    return f"{statistics.median(taken):.2f} | {cuts[98]:.2f} | {max(taken):.1f}"


def by_the_model(lines: Iterable[str]) -> int:
    """The way before this benchmark: each record through pydantic and back, hashed over rfc8785's bytes."""
    previous, count = "", 0
    for line in lines:
        obj = json.loads(line)
        spec = AuditRecordSpec.model_validate(obj["spec"])
        plain = spec.to_dict()
        content = {key: value for key, value in plain.items() if key != "hash"}
        digest = "sha256:" + hashlib.sha256(DOMAIN + rfc8785.dumps(content)).hexdigest()
        if plain != obj["spec"] or digest != spec.hash or (previous and spec.previous_hash != previous):
            raise ValueError(spec.sequence)
        previous, count = spec.hash, count + 1
    return count


def plain_chain(lines: Iterable[str]) -> int:
    """The least that a hash chain needs: no shapes, no doubled names, no events, no signatures."""
    previous, count = "", 0
    for line in lines:
        spec = json.loads(line)["spec"]
        content = {key: value for key, value in spec.items() if key != "hash"}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        digest = "sha256:" + hashlib.sha256(DOMAIN + text.encode()).hexdigest()
        if digest != spec["hash"] or (previous and spec["previousHash"] != previous):
            raise ValueError(spec["sequence"])
        previous, count = digest, count + 1
    return count


def command(path: Path, *more: str) -> int:
    """`tunegate audit verify --file --public-key`, the whole command."""
    said = StringIO()
    with redirect_stdout(said):
        status = cli(["audit", "verify", "--file", str(path), "--public-key", str(path.with_name("key.pem")), *more])
    count = re.search(r"ledger intact: (\d+) records", said.getvalue())
    if status != 0 or count is None or "Proven up to" not in said.getvalue():
        raise ValueError(said.getvalue()[:300])
    return int(count[1])


def with_objects(path: Path) -> int:
    """The same with the objects that the records speak of."""
    return command(path, "--objects", str(path.with_name("objects.json")))


class Exported:
    """The records of a file as the API server lists them, a page at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def pages(self, api_version: str, kind: str) -> AsyncIterator[list[Json]]:
        with self._path.open() as stream:
            while page := [json.loads(line) for line in islice(stream, PAGE)]:
                yield page

    async def get(self, ref: ObjectRef) -> Json | None:
        return None

    async def create(self, obj: Json) -> Json:
        raise NotImplementedError("this ledger is only read")


def started(path: Path) -> int:
    """What an operator does at start: read all, verify all, keep what it needs."""

    async def read() -> int:
        writer = LedgerWriter(Exported(path))
        if await writer.problems():
            raise ValueError("the ledger does not verify")
        KEPT.append(writer)
        return (await writer.since_seal()).newest.sequence  # type: ignore[union-attr]

    return asyncio.run(read())


def lines_of(check: Callable[[Iterable[str]], int]) -> Callable[[Path], int]:
    """Let a check of lines read a file."""

    def run(path: Path) -> int:
        with path.open() as stream:
            return check(stream)

    return run


KEPT: list[LedgerWriter] = []
"""What must still be in memory when it is measured."""
WAYS: dict[str, Callable[[Path], int]] = {
    "ours": command, "objects": with_objects, "operator": started, "model": lines_of(by_the_model),
    "plain": lines_of(plain_chain),
}  # fmt: skip
TITLES = {
    "ours": "`tunegate audit verify`, one checkpoint for 100 records",
    "objects": "the same, and `--objects`: approvals and releases",
    "operator": "an operator that starts: the same checks, and all records kept packed",
    "model": "chain only, through pydantic and rfc8785 (before)",
    "plain": "chain only, `json.dumps(sort_keys)` and SHA-256, nothing else checked",
}


def child(way: str, path: Path) -> None:
    """Check the file once and print records, seconds of this process's CPU time and MiB of memory beyond the start."""
    before = most_memory()
    began = time.process_time()
    count = WAYS[way](path)
    took = time.process_time() - began
    print(json.dumps([count, took, most_memory() - before]))


def most_memory() -> float:
    """Return the most MiB that this program held; `getrusage` would count the one that started it too."""
    told = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", told)[0]) / 1024


def verified(path: Path) -> None:
    """Print the table of verification: the best of some runs of each way, each in a process of its own, in turn."""
    runs: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    for _ in range(REPEATS):
        for way in WAYS:
            done = subprocess.run(
                [sys.executable, __file__, "--way", way, "--file", str(path)],
                capture_output=True,
                text=True,
                check=True,
            )
            runs[way].append(json.loads(done.stdout))
    best = {way: min(found, key=lambda one: one[1]) for way, found in runs.items()}
    print("| | CPU seconds | records a second | ratio | memory, MiB |\n|---|---|---|---|---|")
    for way, (count, took, memory) in best.items():
        print(f"| {TITLES[way]} | {took:.2f} | {count / took:,.0f} | {took / best['ours'][1]:.2f} | {memory:.0f} |")


async def in_memory(count: int) -> None:
    """Append without a network, write the export, verify it. ``count`` is rounded to whole releases."""
    releases = count // EACH
    key = SigningKey(generate_private_key(SECP256R1()))
    store = Memory()
    before = most_memory()
    taken = await appended(LedgerWriter(store), entries(releases), KeyRing(key))
    print("| append | median, ms | 99 %, ms | most, ms |\n|---|---|---|---|")
    print(f"| in memory, {len(taken):,} records | {spread(taken)} |")
    grown = most_memory() - before
    print(f"\nWriter and in-memory store grew by {grown:.0f} MiB.\n")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "records.jsonl"
        with path.open("wb") as stream:
            stream.writelines(canonical(obj) + b"\n" for obj in store.objects.values())
        path.with_name("key.pem").write_text(key.public.pem)
        others = {"kind": "List", "items": list(objects(releases))}
        path.with_name("objects.json").write_bytes(canonical(others) + b"\n")
        print(
            f"{len(store.objects):,} records, {path.stat().st_size / 1e6:.0f} MB; {len(others['items']):,} objects.\n"
        )
        del others
        store.objects.clear()
        verified(path)


async def on_server(kubeconfig: str, count: int) -> None:
    """Append to a real ledger; no checkpoints, since the key is the operator's."""
    configuration = Configuration()
    await config.load_kube_config(kubeconfig, client_configuration=configuration, persist_config=False)
    api = ApiClient(configuration)
    api.set_default_header("Impersonate-User", OPERATOR)
    api.set_default_header("Impersonate-Group", "system:masters")
    async with KubeClient(api) as kube:
        writer = LedgerWriter(kube)
        held = (await writer.since_seal()).records
        taken = await appended(writer, (harmless(time.time_ns()) for _ in range(count)), None)
    print(f"| API server, {count:,} records after {held:,} | {spread(taken)} |")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--kubeconfig")
    parser.add_argument("--way", choices=list(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        child(options.way, options.file)
    elif options.kubeconfig:
        asyncio.run(on_server(options.kubeconfig, options.records))
    else:
        asyncio.run(in_memory(options.records))


if __name__ == "__main__":
    main()
