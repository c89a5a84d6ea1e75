"""Make the example's training rows and frozen questions from the ScanCode license database.

Source: PyPI ``licensedcode-data`` 32.1.0 (CC-BY-4.0): thousands of real license texts whose front matter lists the
copyright statements and holders in them. It is fetched when this runs, checked against a pinned hash and never stored
in the repository. Task: a window of license text in, one line of JSON out, in the house's format::

    {"holder": "Example Works, Inc.", "years": "1999-2004"}

``years`` is the first and the last year of the notice (one year alone when there is only one); the holder's name comes
without a full stop at its end. No holder occurs in both
files, and no question shares thirteen words in a row with a training row. Equal input gives equal bytes.

Standard library only. Example: ``python3 examples/licenses/prepare_data.py --out /tmp/licenses``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REQUIREMENT = (
    "licensedcode-data==32.1.0 --hash=sha256:18f60bde6dbabbc0a925d45ed80089cdbb7168156a2a1c118737198f9b743b96\n"
)
SYSTEM = "Extract the copyright holder and years as one line of JSON."
SCHEMA = {
    "type": "object",
    "properties": {
        "holder": {"type": "string", "minLength": 1, "maxLength": 80},
        "years": {"type": "string", "pattern": "^[0-9]{4}(-[0-9]{4})?$"},
    },
    "required": ["holder", "years"],
    "additionalProperties": False,
}

YEAR = r"(?:19|20)\d\d"
YEARS = re.compile(rf"\b{YEAR}(?:\s?[-,]\s?(?:{YEAR}|\d\d?)\b(?!\d))*\b(?!\s?-\s?(?:present|current|now))", re.I)
MARKER = re.compile(r"copyright(?:ed)?\b|\(c\)|©", re.I)
BETWEEN_WORDS = r"[\s*#/;%|]{0,12}"
BEFORE, AFTER, REACH = 60, 90, 24
"""Characters of context before and after the notice, and how far holder and years may be apart."""
HOLDER_LIMIT = 60
NOT_A_NAME = re.compile(
    r",(?! (?:Inc|LLC|L\.L\.C|Ltd|Limited|Corp|Corporation|Co|GmbH|S\.A|Jr)\b)|\w{4,}[.;] |Inc\. |@", re.I
)
"""Labels that hold more than one name: an address, a list, the start of the next sentence, an e-mail address."""
ROWS_PER_GROUP = 5
QUESTION_SHARE = 0.2
QUESTION_LIMIT = 96
"""Enough to show a gain of fifteen points; two cores answer them under every arm in a few minutes."""
SHINGLE = 13


@dataclass(frozen=True)
class Notice:
    """One labelled copyright notice and the text around it."""

    window: str
    holder: str
    years: str

    @property
    def group(self) -> str:
        """First two words of the holder: variants of one name fall into one group."""
        words = [word for word in re.findall(r"\w+", self.holder.casefold()) if word not in {"the", "by"}]
        return " ".join(words[:2])

    @property
    def rank(self) -> str:
        """Position in a fixed order that has nothing to do with the content."""
        return hashlib.sha256(f"{self.holder}\n{self.years}\n{self.window}".encode()).hexdigest()

    def row(self) -> dict[str, object]:
        answer = json.dumps({"holder": self.holder, "years": self.years}, ensure_ascii=False)
        turns = (("system", SYSTEM), ("user", self.window), ("assistant", answer))
        return {"messages": [{"role": role, "content": text} for role, text in turns], "holder": self.group}


def database_texts(wheel: Path | None) -> Iterator[str]:
    """Yield every rule and license of the database, in the order of their names."""
    with tempfile.TemporaryDirectory() as folder:
        if wheel is None:
            yield from _installed_texts(Path(folder))
            return
        with zipfile.ZipFile(wheel) as archive:
            for name in sorted(name for name in archive.namelist() if name.endswith((".RULE", ".LICENSE"))):
                yield archive.read(name).decode("utf-8", "replace")


def _installed_texts(folder: Path) -> Iterator[str]:
    requirements = folder / "requirements.txt"
    requirements.write_text(REQUIREMENT, encoding="utf-8")
    installer = ["uv", "pip", "install"] if shutil.which("uv") else [sys.executable, "-m", "pip", "install"]
    target = folder / "package"
    command = [*installer, "--quiet", "--no-deps", "--require-hashes", "--target", str(target), "-r", str(requirements)]
    subprocess.run(command, check=True)
    paths = {path.relative_to(target).as_posix(): path for path in target.rglob("*")}
    for name in sorted(name for name in paths if name.endswith((".RULE", ".LICENSE"))):
        yield paths[name].read_bytes().decode("utf-8", "replace")


def front_matter_list(front_matter: str, key: str) -> list[str]:
    """Return the items of one YAML list of the front matter; items may go over several lines."""
    block = re.search(rf"^{key}:\n((?:    - .*\n(?:      .*\n)*)+)", front_matter, re.M)
    if block is None:
        return []
    items = re.findall(r"    - (.*\n(?:      .*\n)*)", block.group(1))
    return [" ".join(item.split()).strip("'\"") for item in items]


def year_span(text: str) -> str | None:
    """Return the first and last year of ``1999, 2001-04`` as ``1999-2004``; None when they do not ascend."""
    years: list[int] = []
    for digits in re.findall(r"\d+", text):
        number = int(digits)
        if len(digits) < 4:
            if not years:
                return None
            number += years[-1] // 10 ** len(digits) * 10 ** len(digits)
        years.append(number)
    if not years or years != sorted(years):
        return None
    return str(years[0]) if years[0] == years[-1] else f"{years[0]}-{years[-1]}"


def notices_in(text: str) -> Iterator[Notice]:
    """Yield the labelled notices of one database file that can be found in its text."""
    parts = text.split("---\n", 2)
    if len(parts) < 3:
        return
    holders = front_matter_list(parts[1], "ignorable_holders")
    for statement in front_matter_list(parts[1], "ignorable_copyrights"):
        named = [holder for holder in holders if holder in statement]
        found = YEARS.findall(statement)
        if not named or len(found) != 1 or re.search(r"present|current", statement, re.I):
            continue
        years = year_span(found[0])
        holder = max(named, key=len).rstrip(".,; ")
        if years and 3 <= len(holder) <= HOLDER_LIMIT and not NOT_A_NAME.search(holder):
            yield from _located(parts[2], holder, found[0], years)


def _located(body: str, holder: str, written_years: str, years: str) -> Iterator[Notice]:
    """Find holder and years beside each other in the body; at most one notice each."""
    name = BETWEEN_WORDS.join(re.escape(token) for token in re.findall(r"\w+|[^\w\s]", holder))
    dates = BETWEEN_WORDS.join(re.escape(token) for token in re.findall(r"\w+|[^\w\s]", written_years))
    apart = rf"[^\w]{{0,{REACH}}}(?:by|\(c\))?[^\w]{{0,{REACH}}}"
    for pattern in (rf"\b{dates}{apart}{name}(?!\w)", rf"(?<!\w){name}{apart}{dates}\b"):
        match = re.search(pattern, body)
        if match is None:
            continue
        window = _window(body, match.start(), match.end())
        if window is not None:
            yield Notice(window, holder, years)
        return


def _window(body: str, start: int, end: int) -> str | None:
    """Cut the text around a notice so that no other notice is in it; None when no copyright mark stands before it."""
    earlier = [found.end() for found in YEARS.finditer(body, max(0, start - 40), start)]
    marks = [mark.start() for mark in MARKER.finditer(body, max([0, start - 40, *earlier]), start)]
    if not marks or "\ufffd" in body[start : end + 1] or not body[end : end + 1].isascii():
        return None
    first = marks[0]
    before = body[max(0, first - BEFORE) : first]
    after = body[end : end + AFTER]
    if YEARS.search(before):
        before = before[max(found.end() for found in YEARS.finditer(before)) :]
    cuts = [found.start() for pattern in (MARKER, YEARS) for found in pattern.finditer(after)]
    after = after[: min(cuts)] if cuts else after
    if first > BEFORE and " " in before:
        before = before.split(" ", 1)[1] if not before.startswith("\n") else before
    if len(after) == AFTER and " " in after:
        after = after.rsplit(" ", 1)[0]
    lines = (" ".join(line.split()) for line in (before + body[first:end] + after).strip().splitlines())
    return "\n".join(line for line in lines if line)


def shingles(text: str) -> set[tuple[str, ...]]:
    """Return all runs of thirteen words."""
    words = re.findall(r"\w+", text.casefold())
    return {tuple(words[at : at + SHINGLE]) for at in range(len(words) - SHINGLE + 1)}


def split(notices: list[Notice]) -> tuple[list[Notice], list[Notice]]:
    """Return training rows and questions: whole groups to one side, then questions that overlap dropped."""
    groups: dict[str, list[Notice]] = {}
    for notice in sorted(set(notices), key=lambda notice: notice.rank):
        kept = groups.setdefault(notice.group, [])
        seen = {(other.holder, other.years) for other in kept} | {(other.window, "") for other in kept}
        if len(kept) < ROWS_PER_GROUP and not {(notice.holder, notice.years), (notice.window, "")} & seen:
            kept.append(notice)
    training: list[Notice] = []
    questions: list[Notice] = []
    for group in sorted(groups, key=lambda name: hashlib.sha256(name.encode()).hexdigest()):
        share = int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) / 16**8
        (questions if share < QUESTION_SHARE else training).extend(groups[group])
    known = set().union(*(shingles(notice.window) for notice in training))
    holders = {notice.holder.casefold() for notice in training}
    fresh = [
        notice
        for notice in questions
        if not shingles(notice.window) & known and notice.holder.casefold() not in holders
    ]
    return sorted(training, key=lambda notice: notice.rank), sorted(fresh, key=lambda notice: notice.rank)[
        :QUESTION_LIMIT
    ]


def write_rows(path: Path, notices: list[Notice]) -> dict[str, object]:
    """Write chat JSONL and return its size and digest."""
    lines = [json.dumps(notice.row(), ensure_ascii=False) + "\n" for notice in notices]
    content = "".join(lines).encode()
    path.write_bytes(content)
    return {
        "rows": len(lines),
        "holders": len({notice.group for notice in notices}),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def prepare(out: Path, wheel: Path | None) -> dict[str, object]:
    """Write ``train.jsonl``, ``suite.jsonl``, ``schema.json`` and ``sizes.json`` into ``out``; return the sizes."""
    out.mkdir(parents=True, exist_ok=True)
    training, questions = split([notice for text in database_texts(wheel) for notice in notices_in(text)])
    sizes: dict[str, object] = {
        "train.jsonl": write_rows(out / "train.jsonl", training),
        "suite.jsonl": write_rows(out / "suite.jsonl", questions),
    }
    (out / "schema.json").write_text(json.dumps(SCHEMA, indent=2) + "\n", encoding="utf-8")
    (out / "sizes.json").write_text(json.dumps(sizes, indent=2) + "\n", encoding="utf-8")
    return sizes


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the example's training rows and questions.")
    parser.add_argument("--out", type=Path, required=True, help="folder for train.jsonl, suite.jsonl, schema.json")
    parser.add_argument("--wheel", type=Path, help="licensedcode-data wheel on disk, where no registry is in reach")
    arguments = parser.parse_args()
    print(json.dumps(prepare(arguments.out, arguments.wheel), indent=2))


if __name__ == "__main__":
    main()
