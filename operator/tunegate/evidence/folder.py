"""The folder as a whole: from its sources to all files, and from files to what does not fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunegate import __version__
from tunegate.digests import sha256
from tunegate.evidence import decisions, envelopes, index, layout
from tunegate.evidence.bom import bill_of_materials
from tunegate.evidence.card import model_card
from tunegate.evidence.documents import read_documents, read_statement
from tunegate.evidence.environment import environment, manifest
from tunegate.evidence.index import Index, IndexedRelease, pretty
from tunegate.evidence.layout import Files
from tunegate.evidence.pages import approvals_page, verify_page
from tunegate.evidence.provenance import provenance
from tunegate.evidence.risk import risk
from tunegate.evidence.story import Difference, Story
from tunegate.keys import PublicKey
from tunegate.ledger import chain

Json = dict[str, Any]


@dataclass(frozen=True)
class Noted:
    """What somebody wrote down elsewhere; None where they did not."""

    digest: str | None = None
    """The release digest."""
    head: chain.Head | None = None
    """The ledger's head, now or earlier."""
    index: str | None = None
    """SHA-256 of `index.json`."""
    keys: tuple[PublicKey, ...] = ()
    """The operator's public keys, from a source other than the folder."""


@dataclass(frozen=True)
class Report:
    """Whether a folder fits together."""

    differences: tuple[Difference, ...]
    story: Story | None
    """What the sources tell, where all of them fit."""


def read_sources(files: Files, noted: Noted) -> tuple[Story | None, list[Difference]]:
    """Return what the sources tell, if they fit together, and where they do not."""
    content = files.get(layout.STATEMENT)
    if content is None:
        return None, [Difference(layout.STATEMENT, "is missing, and without it nothing can be checked")]
    statement, found = read_statement(content, noted.digest)
    if statement is None:
        return None, found
    found += [Difference(path, "is missing") for path in layout.sources(statement) if path not in files]
    documents, wrong = read_documents(files, statement)
    found += wrong
    approvals, wrong = decisions.read_approvals(files.get(layout.APPROVALS, b""))
    found += wrong
    ledger, wrong = decisions.read_ledger(files.get(layout.LEDGER, b""), noted.head, noted.keys)
    found += wrong
    if found or documents is None:
        return None, found
    digest, records = sha256(content), ledger.records
    trusted = (*noted.keys, *ledger.signers) if noted.keys else ()
    signed, found = envelopes.read(files, statement, documents, records, trusted)
    found += decisions.check(statement, digest, approvals, records)
    return None if found else Story(statement, digest, documents, approvals, records, signed), found


def derive(story: Story) -> dict[str, bytes]:
    """Return the files that are made from the sources: the same again, whenever they are made."""
    return {
        "manifest.json": pretty(manifest(story)),
        "environment.json": pretty(environment(story)),
        "approvals.md": approvals_page(story).encode(),
        "model-card.md": model_card(story).encode(),
        "mlbom.cdx.json": pretty(bill_of_materials(story)),
        "provenance.intoto.json": pretty(story.signed.get("provenance") or _unsigned_provenance(story)),
        "risk.json": pretty(risk(story)),
        "verify.txt": verify_page(story).encode(),
    }


def _unsigned_provenance(story: Story) -> Json:
    return provenance(story.statement, story.documents, __version__)


def complete(sources: Files) -> tuple[dict[str, bytes], tuple[Difference, ...]]:
    """Return all files of the folder. When the sources do not fit together, they stay alone and the reasons are returned."""
    story, found = read_sources(sources, Noted())
    if story is None:
        return dict(sources), tuple(found)
    files = {**sources, **derive(story)}
    return {**files, layout.INDEX: index.make(files, _release(story), story.head).content}, ()


def verify(files: Files, noted: Noted) -> Report:
    """Return what does not fit, by file, the most telling first; none of it: everything fits what was noted."""
    listed, at_index = index.check(files, noted.index)
    story, found = read_sources(files, noted)
    if story is not None:
        found += _made_again(files, story, listed, noted)
    known = {one.file for one in found}
    # A file that is what it must be, and yet differs from the index: it is the index that was altered.
    at_index = [one for one in at_index if one.file not in known]
    if story is not None and not found and listed is not None and listed.written_by == __version__:
        at_index = [
            one if one.file == layout.INDEX else Difference(layout.INDEX, f"is wrong: {one}") for one in at_index
        ]
    return Report((*found, *at_index), story)


def _made_again(files: Files, story: Story, listed: Index | None, noted: Noted) -> list[Difference]:
    """Make what is made of the sources once more and compare."""
    found = []
    if listed is not None and (listed.release, listed.ledger_head) != (_release(story), story.head):
        found.append(Difference(layout.INDEX, "names another release or ledger head than the files"))
    if listed is not None and listed.written_by != __version__:
        if noted.index is None:
            text = (
                f"was written by tunegate {listed.written_by}, this is {__version__}: what is made of the sources cannot be "
                "made again. Use that version, or give --index with the digest that you noted"
            )
            found.append(Difference(layout.INDEX, text))
        return found
    wanted = derive(story)
    expected = {*layout.sources(story.statement), *layout.signature_paths(story.signed), *wanted, layout.INDEX}
    found += [Difference(path, "is missing") for path in sorted(expected - files.keys())]
    found += [Difference(path, "does not belong here") for path in sorted(files.keys() - expected)]
    differing = [path for path in sorted(wanted) if path in files and files[path] != wanted[path]]
    return [*found, *(Difference(path, "is not what the other files give") for path in differing)]


def _release(story: Story) -> IndexedRelease:
    part = story.statement.release
    return IndexedRelease(namespace=part.namespace, name=part.name, uid=part.uid, digest=story.digest)
