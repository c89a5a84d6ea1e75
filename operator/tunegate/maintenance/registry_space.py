"""`python -m tunegate.maintenance.registry_space`: what the chart's registry holds that nobody names, and deletes it when told to.

Run by the platform team in the operator's pod, which alone may sign for deletion and append to the ledger. Without `--delete`
it only looks. Blobs are freed afterwards, by the registry's own collection of garbage (docs/operate.md, Room in the registry).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tunegate import settings
from tunegate.api.conditions import from_rfc3339
from tunegate.api.numbers import size
from tunegate.errors import Terminal, Transient
from tunegate.kube.client import KubeClient
from tunegate.ledger.entry import OPERATOR, AuditEntry, AuditSubject
from tunegate.ledger.writer import LedgerWriter
from tunegate.maintenance import named_content
from tunegate.maintenance.unused_content import Space, Unused, find_unused
from tunegate.registry import artifact
from tunegate.registry.artifact import INDEX_TYPE
from tunegate.registry.client import RegistryClient
from tunegate.registry.failures import Missing, ReadOnly, Refused
from tunegate.registry.stored import Room, StoredManifest
from tunegate.registry.tokens import CATALOG, ISSUER, Access, ProgramCredential, TokenSigner
from tunegate.registry.volume_client import VolumeClient
from tunegate.runtime import ledger_parts
from tunegate.runtime.services import tracking_of
from tunegate.settings import Settings

LEAST_DAYS, USUAL_DAYS = 1, 7
LIFETIME = timedelta(minutes=15)
NOTHING = "sha256:" + "0" * 64
"""A digest that no registry has: asking to delete it shows whether the registry deletes anything."""
FIELD_BYTES = 2048
FIELDS = 24
"""Of one record: it has room for some more than its list."""


@dataclass(frozen=True)
class _Registry:
    """The chart's registry, as the holder of the key sees it."""

    site: Settings
    signer: TokenSigner
    volume: VolumeClient
    reader: RegistryClient
    deleter: RegistryClient

    @classmethod
    def of(cls, site: Settings) -> _Registry:
        """Connect. Raises ``Terminal`` where the registry is the site's own."""
        key, certificate, url = site.registry_token_key, site.registry_token_cert, site.registry_volume_url
        if key is None or certificate is None or url is None:
            message = f"{site.registry_host} is not the chart's registry: its owner decides what is deleted there"
            raise Terminal("BadSettings", message)
        signer = TokenSigner.from_files(key, certificate)

        def token(access: Access) -> str:
            return signer.sign([access], subject=ISSUER, lifetime=LIFETIME, now=datetime.now(UTC))

        def client(source: Callable[[str], str]) -> RegistryClient:
            return RegistryClient(
                site.registry_host, plain_http=site.registry_plain_http, ca_file=site.ca_file, token_source=source
            )

        return cls(
            site,
            signer,
            VolumeClient(url, lambda: token(CATALOG), ca_file=site.ca_file),
            client(ProgramCredential(signer)),
            client(lambda repository: token(Access(repository, ("pull", "delete")))),
        )

    def read(self, stored: StoredManifest) -> str:
        """Return a manifest with the document that it holds, verified. Raises a ``RegistryError``."""
        content = self.reader.pull_manifest(stored.repository, stored.digest).decode(errors="replace")
        if stored.kind == INDEX_TYPE:
            return content
        said = artifact.read(content.encode())
        if len(said.layers) != 1 or not said.layers[0].media_type.endswith("json"):
            return content  # Numbers, rows and answers name nothing.
        document = self.reader.pull_document(stored.repository, stored.digest)
        return content + document.decode(errors="replace")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what is unused, or delete a list; 1 when nothing was deleted or not all of it, 2 for wrong arguments."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.delete and not options.by:
        parser.error("--delete needs --by: who decided it, for the ledger")
    try:
        return asyncio.run(_run(settings.from_environment(), options))
    except (Transient, Terminal) as error:
        print(f"nothing was deleted: {error.message}", file=sys.stderr)
        return 1


async def _run(site: Settings, options: argparse.Namespace) -> int:
    registry = _Registry.of(site)
    now = datetime.now(UTC)
    async with await KubeClient.connect(site.kubeconfig) as kube:
        # First what is there, then who names it: what is pushed and named meanwhile is not on the list.
        stock = await asyncio.to_thread(registry.volume.manifests)
        named = await named_content.collect(kube, site.namespaces)
        space = find_unused(
            stock,
            named,
            registry.read,
            namespaces=site.namespaces,
            margin=timedelta(days=options.older_than_days),
            now=now,
        )
        if not options.delete:
            _show(space, registry.volume.room(), now, options.output)
            return 0
        if options.delete != space.list_digest:
            message = f"the list is now {space.list_digest}, another than {options.delete}: look at it again"
            raise Terminal("ListDiffers", message)
        if not space.unused:
            raise Terminal("NothingUnused", "the list is empty")
        _deletes_at_all(registry.deleter, space.unused[0].stored.repository)
        ring = ledger_parts.keys(site)
        ledger = ledger_parts.writer(kube, ledger_parts.places(site, tracking_of(site), ring), ring)
        return await _delete(registry.deleter, ledger, space, _subject(site), options.by)


def _deletes_at_all(registry: RegistryClient, repository: str) -> None:
    """Raise ``Terminal`` unless the registry deletes, before anything is recorded."""
    try:
        registry.delete_manifest(repository, NOTHING)
    except Missing:
        return
    except ReadOnly as error:
        message = "the registry deletes nothing now: set registry.maintenance=Delete and upgrade the chart first"
        raise Terminal("ReadOnly", message) from error
    raise Refused(f"{repository}: the registry says that it deleted what nobody ever had")


async def _delete(registry: RegistryClient, ledger: LedgerWriter, space: Space, subject: AuditSubject, by: str) -> int:
    """Record and delete, a part at a time; stop at the first thing that is not as it should be."""
    parts, done = record_parts(space.unused), 0
    for number, (part, payload) in enumerate(parts, 1):
        payload |= {
            "list": space.list_digest,
            "part": f"{number} of {len(parts)}",
            "bytes": str(space.freed),
            "startedBy": by,
        }
        key = f"{space.list_digest} {number}"
        await ledger.append(AuditEntry(named_content.DELETED, OPERATOR, subject, key, payload))
        for unused in part:
            try:
                registry.delete_manifest(unused.stored.repository, unused.stored.digest)
            except (Transient, Terminal) as error:
                print(f"stopped after {done} of {len(space.unused)} manifests: {error.message}", file=sys.stderr)
                return 1
            done += 1
    print(f"deleted {done} manifests; {size(space.freed)} are free once the registry has collected its garbage")
    return 0


def record_parts(unused: Sequence[Unused]) -> list[tuple[list[Unused], dict[str, str]]]:
    """Return the list in parts that fit into one record each, with the fields that name what is deleted."""
    parts: list[tuple[list[Unused], dict[str, str]]] = []
    for one in unused:
        part, payload = parts[-1] if parts else ([], {})
        last = f"deleted-{len(payload)}"
        longer = f"{payload.get(last, '')} {one.place}".strip()
        if not part or (len(longer) > FIELD_BYTES and len(payload) == FIELDS):
            part, payload = [], {}
            parts.append((part, payload))
        if payload and len(longer) <= FIELD_BYTES:
            payload[last] = longer
        else:
            payload[f"deleted-{len(payload) + 1}"] = one.place
        part.append(one)
    return parts


def _subject(site: Settings) -> AuditSubject:
    """Return the ledger's subject for all content of the registry that the chart installed."""
    return AuditSubject(
        "Deployment", site.system_namespace, "tunegate-registry", f"registry-of-{site.system_namespace}"
    )


def _show(space: Space, room: Room, now: datetime, output: str) -> None:
    if output == "json":
        print(json.dumps(_document(space, room), indent=2))
        return
    rows = [
        (
            one.place,
            _kind(one.stored),
            f"{(now - from_rfc3339(one.stored.pushed)).days} d",
            size(_bytes(one.stored)),
            one.why,
        )
        for one in space.unused
    ]
    if rows:
        _table([("UNUSED", "KIND", "AGE", "BYTES", "WHY"), *rows])
    print(f"{len(space.unused)} manifests are unused; deleting them and collecting garbage frees {size(space.freed)}")
    print(
        f"kept: {space.kept} that are named, {space.young} younger than the margin, "
        f"{space.ungoverned} of namespaces that are not governed"
    )
    for stored in space.broken:
        print(f"broken: {stored.repository}@{stored.digest} {stored.problem}: bring it back from a backup")
    print(
        f"volume: {room.used_percent} % of {size(room.total)} are taken, {size(room.unreferenced)} of it by garbage and uploads"
    )
    for name, count in room.namespaces.items():
        print(f"  {name}: {size(count)}")
    print(f"list {space.list_digest}")


def _document(space: Space, room: Room) -> dict[str, object]:
    return {
        "list": space.list_digest,
        "bytes": space.freed,
        "unused": [{**one.stored.to_dict(), "why": one.why} for one in space.unused],
        "broken": [one.to_dict() for one in space.broken],
        "kept": space.kept,
        "young": space.young,
        "ungoverned": space.ungoverned,
        "room": room.to_dict(),
    }


def _table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _kind(stored: StoredManifest) -> str:
    """Return the kind without the words that all have in common."""
    short = stored.kind.removeprefix("application/vnd.").removeprefix("tunegate.").split("+")[0]
    return short.rsplit(".v", 1)[0]


def _bytes(stored: StoredManifest) -> int:
    return sum(stored.blobs.values())


def _days(text: str) -> int:
    """Read a margin. What a running stage pushes is named only once the operator has read it."""
    if not text.isdecimal() or int(text) < LEAST_DAYS:
        raise argparse.ArgumentTypeError(f"expected a whole number of days, at least {LEAST_DAYS}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tunegate.maintenance.registry_space", description=__doc__)
    parser.add_argument(
        "--older-than-days", type=_days, default=USUAL_DAYS, metavar="DAYS", help="leave younger content (%(default)s)"
    )
    parser.add_argument("--delete", metavar="LIST", help="delete exactly this list: the digest that was printed")
    parser.add_argument("--by", metavar="NAME", help="who decided it; recorded, not proven")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
