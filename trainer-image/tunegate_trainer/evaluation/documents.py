"""The author's documents, as passages to search: would retrieval do what tuning is asked for?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunegate import digests
from tunegate.api.manifest import FileEntry, Manifest
from tunegate.api.pushed import DOCUMENT_ENDINGS
from tunegate.api.stage.configs import DocumentsInput
from tunegate.api.stage.layout import MAX_DOCUMENT_BYTES, MAX_DOCUMENTS
from tunegate_trainer.data.shards import check_digest
from tunegate_trainer.endings import BadInput
from tunegate_trainer.folders import files_below

WHAT = "baseline.documents"
ACCEPTED = f"{', '.join(DOCUMENT_ENDINGS)} files of UTF-8 text"
PASSAGES = 3
"""Shown with a question, fewer where they do not fit or share no word with it."""
LONGEST_PASSAGE = 1000
"""Characters: about 250 tokens of English, some paragraphs on one thing."""
SHORTEST_PASSAGE = 200
"""Characters; in an engine too small for three of these fewer are shown."""
CHARACTERS_PER_TOKEN = 4
"""Of English text. In other scripts a token is less: there the engine refuses, and is asked again with less."""
_GAP = re.compile(r"\n\s*\n")


@dataclass(frozen=True)
class Documents:
    """The texts in the order of the files' names, and the digest of the files."""

    texts: Sequence[str]
    digest: str


def load_documents(documents: DocumentsInput) -> Documents:
    """Read the file, or all files of the folder but hidden ones.

    Raises ``BadInput`` when missing, not what was promised, not text, without any text, or too much.
    """
    root = Path(documents.path)
    files = _files(root)
    sizes = {file: file.stat().st_size for file in files}
    total = sum(sizes.values())
    if len(files) > MAX_DOCUMENTS or total > MAX_DOCUMENT_BYTES:
        largest = max(files, key=sizes.__getitem__)
        raise BadInput(
            f"{WHAT}: {len(files)} files with {total} bytes, the largest is {_name(root, largest)} with {sizes[largest]}; "
            f"at most {MAX_DOCUMENTS} files with {MAX_DOCUMENT_BYTES} bytes are searched"
        )
    # Read once: the digest is that of the very bytes that are searched.
    contents = {file: _bytes(root, file) for file in files}
    texts = [_text(_name(root, file), content) for file, content in contents.items()]
    if not any(text.strip() for text in texts):
        raise BadInput(f"{WHAT}: no text in {root.name}; it takes {ACCEPTED}")
    digest = _digest(root, contents)
    check_digest(WHAT, digest, documents.digest)
    return Documents(texts, digest)


def _digest(root: Path, contents: Mapping[Path, bytes]) -> str:
    """Return SHA-256 of the one file, or the digest of a folder's manifest."""
    if root in contents:
        return digests.sha256(contents[root])
    entries = [
        FileEntry(path=_name(root, file), size=len(content), sha256=digests.sha256(content).removeprefix("sha256:"))
        for file, content in contents.items()
    ]
    return digests.manifest_digest(Manifest(files=entries))


def passage_characters(max_model_len: int, max_tokens: int) -> int:
    """Return how long a passage may be for three of them, and a question of that length, to fit before the answer.

    ``max_model_len`` and ``max_tokens``: the engine's context and the longest answer, in tokens.
    """
    room = (max_model_len - max_tokens) * CHARACTERS_PER_TOKEN // (PASSAGES + 1)
    return max(SHORTEST_PASSAGE, min(LONGEST_PASSAGE, room))


def cut(text: str, longest: int) -> list[str]:
    """Return the text as passages of at most ``longest`` characters: whole paragraphs together where they fit."""
    piece = re.compile(rf"\S(?:.{{0,{longest - 2}}}\S)?(?!\S)|\S{{{longest}}}", re.DOTALL)
    passages: list[str] = []
    for block in _GAP.split(text.replace("\r\n", "\n")):
        paragraph = block.strip()
        if passages and paragraph and len(passages[-1]) + 2 + len(paragraph) <= longest:
            passages[-1] += f"\n\n{paragraph}"
        else:
            passages += piece.findall(paragraph)
    return passages


def _files(root: Path) -> list[Path]:
    """Return the files, sorted by path. Raises ``BadInput`` for a missing root, links, unreadable folders and other files."""
    found = files_below(WHAT, root) if root.is_dir() else [root]
    for path in found:
        if path == root and not path.exists():
            raise BadInput(f"{WHAT}: there is no file or folder {root}")
        if path.is_symlink() or not path.is_file() or path.suffix.lower() not in DOCUMENT_ENDINGS:
            raise BadInput(f"{WHAT}: {_name(root, path)} is none of the {ACCEPTED}: convert it or move it elsewhere")
    return found


def _name(root: Path, file: Path) -> str:
    return file.name if file == root else file.relative_to(root).as_posix()


def _bytes(root: Path, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadInput(f"{WHAT}: {_name(root, file)} cannot be read ({error.strerror})") from error


def _text(name: str, content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{WHAT}: {name} is not UTF-8: it takes {ACCEPTED}") from error
    if "\0" in text:
        raise BadInput(f"{WHAT}: {name} has NUL characters: it takes {ACCEPTED}")
    return text
