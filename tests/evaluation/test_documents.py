"""Documents are cut without losing a word, and what is no text, or too much of it, is refused by its name."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.file_rights import without_rights
from tunegate import digests
from tunegate.api.stage.configs import DocumentsInput
from tunegate.api.stage.layout import MAX_DOCUMENT_BYTES, MAX_DOCUMENTS
from tunegate_trainer.endings import BadInput
from tunegate_trainer.evaluation.documents import Documents, cut, load_documents, passage_characters

words = st.text("abcäß.#|", min_size=1, max_size=40)
gaps = st.sampled_from([" ", "\n", "\n\n", "\r\n\r\n", "\n \n", "\t"])


def load(path: Path, digest: str | None = None) -> Documents:
    return load_documents(DocumentsInput(path=str(path), digest=digest))


@given(st.lists(st.tuples(words, gaps), max_size=200), st.integers(40, 300))
def test_passages_hold_every_word_in_order_and_none_is_too_long(pieces: list[tuple[str, str]], longest: int) -> None:
    passages = cut("".join(word + gap for word, gap in pieces), longest)
    assert " ".join(passages).split() == [word for word, _ in pieces]
    assert all(0 < len(passage) <= longest for passage in passages)


def test_short_paragraphs_stay_together_and_words_without_spaces_are_cut() -> None:
    assert cut("# Oven\n\nHeat it.\n\nWait for ten minutes.", 20) == ["# Oven\n\nHeat it.", "Wait for ten", "minutes."]
    assert [len(passage) for passage in cut("字" * 2005, 1000)] == [1000, 1000, 5]


@pytest.mark.parametrize(("context", "answer", "characters"), [(8192, 512, 1000), (512, 24, 488), (128, 64, 200)])
def test_passages_are_as_long_as_the_engine_has_room_for_three_and_a_question(
    context: int, answer: int, characters: int
) -> None:
    assert passage_characters(context, answer) == characters


def test_a_folder_is_read_in_the_order_of_its_names_and_one_changed_byte_changes_the_digest(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.TXT").write_bytes(b"\xef\xbb\xbfsecond")
    (tmp_path / "a.md").write_text("first")
    (tmp_path / ".hidden").write_bytes(b"\xff")
    before = load(tmp_path)
    assert before.texts == ["first", "second"]
    assert load(tmp_path, before.digest) == before
    (tmp_path / "a.md").write_text("First")
    with pytest.raises(BadInput, match=f"promised was {before.digest}"):
        load(tmp_path, before.digest)
    assert load(tmp_path / "a.md").digest == digests.file_digest(tmp_path / "a.md")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("scan.pdf", b"text", r"documents: scan\.pdf is none of the \.md, \.markdown, \.txt files"),
        ("a.md", b"secret \xff", r"a\.md is not UTF-8"),
        ("a.md", b"secret \0", r"a\.md has NUL characters"),
        ("a.md", b" \n ", r"no text in manuals; it takes \.md"),
        (".a.md", b"text", "no text in manuals"),
    ],
)
def test_what_is_no_text_is_refused_by_name_and_not_quoted(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    folder = tmp_path / "manuals"
    folder.mkdir()
    (folder / name).write_bytes(content)
    with pytest.raises(BadInput, match=says) as caught:
        load(folder)
    assert "secret" not in str(caught.value)


def test_missing_folders_and_links_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no file or folder"):
        load(tmp_path / "none")
    (tmp_path / "a.md").symlink_to("/etc/hostname")
    with pytest.raises(BadInput, match=r"a\.md is none of"):
        load(tmp_path)


def test_nothing_is_left_out_because_it_cannot_be_reached() -> None:
    with TemporaryDirectory() as place, TemporaryDirectory() as elsewhere:
        folder, chapter, lost = Path(place), Path(place, "chapter"), Path(place, "lost+found")
        folder.chmod(0o755)
        (folder / "a.md").write_text("text")
        lost.mkdir(mode=0o700)
        with without_rights():
            assert load(folder).texts == ["text"]
        chapter.mkdir(mode=0o700)
        (chapter / "b.md").write_text("more")
        with without_rights(), pytest.raises(BadInput, match=r"folder chapter cannot be read \(Permission denied\)"):
            load(folder)
        chapter.chmod(0o755)
        (chapter / "b.md").chmod(0o000)
        with without_rights(), pytest.raises(BadInput, match=r"chapter/b\.md cannot be read \(Permission denied\)"):
            load(folder)
        (chapter / "c").symlink_to(elsewhere)
        with pytest.raises(BadInput, match="chapter/c is a link to a folder"):
            load(folder)


def test_more_than_is_searched_is_refused_before_it_is_read(tmp_path: Path) -> None:
    large, many = tmp_path / "large", tmp_path / "many"
    for folder in (large, many):
        folder.mkdir()
    (large / "small.md").write_text("text")
    (large / "book.md").touch()
    os.truncate(large / "book.md", MAX_DOCUMENT_BYTES)  # zeros: read, they would be refused as NUL
    with pytest.raises(
        BadInput, match=rf"largest is book\.md with {MAX_DOCUMENT_BYTES}; at most {MAX_DOCUMENTS} files"
    ):
        load(large)
    for number in range(MAX_DOCUMENTS + 1):
        (many / f"{number}.txt").touch()
    with pytest.raises(BadInput, match=f"{MAX_DOCUMENTS + 1} files with 0 bytes"):
        load(many)
