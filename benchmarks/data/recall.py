"""Recall and precision of the data checks on labeled rows, easy and hard, made here with a seed.

    PYTHONPATH=operator:trainer-image:. .venv/bin/python benchmarks/data/recall.py [--licenses FOLDER]

Every check looks at its own data set, through the code of the validate stage. Each kind of row has `EACH` rows. No number
or name belongs to anybody: numbers are random and made to satisfy, or to fail, their checksums.
With `--licenses`, questions are hidden that lie in FOLDER, as `examples/licenses/prepare_data.py` makes it, and its training rows
are looked through.
"""

from __future__ import annotations

import argparse
import random
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data.disguises import FURTHER, KNOWN, Disguise

from tunegate.api.datachecks import COMPARING, DEFAULTS
from tunegate_trainer.checks.leakage import Questions
from tunegate_trainer.checks.meter import Meter
from tunegate_trainer.data.conversations import ChatTokenizer, ConversationProblem
from tunegate_trainer.data.rows import Row, RowStream
from tunegate_trainer.data.shards import find_shards
from tunegate_trainer.validation.data_checks import weigh

EACH = 25
CHANCE = random.Random(29)  # noqa: S311 - the same rows in every run
VOCABULARY = sorted(
    {word for word in (Path(__file__).resolve().parents[2] / "LICENSE").read_text().split() if word.isalpha()}
)
Make = Callable[[], str]


@dataclass(frozen=True)
class Kind:
    """Rows of one kind: the questions that they ask, and whether the check should find them."""

    name: str
    planted: bool
    questions: Sequence[str]
    answers: Sequence[str] = ()
    """Empty: each has its own."""


@dataclass(frozen=True)
class Trial:
    """What checks that belong together should find, among rows that make no difference."""

    name: str
    checks: frozenset[str]
    kinds: Sequence[Kind]
    suite: Sequence[str] = ()
    background: Sequence[tuple[str, str]] = ()


class NoTokens(ChatTokenizer):
    """Stands for a model's tokenizer, which these checks do not need."""

    def __init__(self) -> None:
        """Need no folder."""

    def count(self, rows: Sequence[Row]) -> list[int | ConversationProblem]:
        """Return one for each row."""
        return [1] * len(rows)


def prose(words: int) -> str:
    return " ".join(CHANCE.choices(VOCABULARY, k=words))


def digits(count: int) -> str:
    return "".join(CHANCE.choices(string.digits, k=count))


def signs(count: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(CHANCE.choices(alphabet, k=count))


def within(make: Make, planted: bool, name: str) -> Kind:
    """Return rows that hold what ``make`` gives in the middle of prose."""
    return Kind(name, planted, [f"{prose(12)} {make()} {prose(12)}" for _ in range(EACH)])


def luhn(body: str) -> str:
    """Return the check digit (ISO/IEC 7812-1, annex B)."""
    total = sum(sum(divmod(int(digit) * (2 - at % 2), 10)) for at, digit in enumerate(reversed(body)))
    return str(-total % 10)


def card(*, sound: bool = True, between: str = " ") -> str:
    body = "4" + digits(14)
    last = luhn(body) if sound else str((int(luhn(body)) + CHANCE.randint(1, 9)) % 10)
    number = body + last
    return between.join(number[at : at + 4] for at in range(0, 16, 4))


def iban(*, sound: bool = True) -> str:
    """Return a German account number (ISO 13616)."""
    account = digits(18)
    check = 98 - int(account + "131400") % 97
    return f"DE{check if sound else (check + CHANCE.randint(1, 95)) % 97 + 2:02d}{account}"


def nhs() -> str:
    while True:
        body = digits(9)
        check = 11 - sum(int(digit) * (10 - at) for at, digit in enumerate(body)) % 11
        if check != 10:
            return f"{body[:3]} {body[3:6]} {body[6:]}{check % 11}"


def name() -> str:
    return CHANCE.choice(("ada", "grace", "alan", "edsger", "barbara")) + digits(3)


def personal_data() -> Trial:
    found: list[tuple[str, Make]] = [
        ("e-mail address", lambda: f"{name()}@example.org"),
        ("e-mail address with tag and subdomains", lambda: f"{name()}+news@mail.example.co.uk"),
        ("e-mail address in angle brackets after a colon", lambda: f"mailto:<{name()}.lee@example.com>"),
        ("e-mail address, sign written as [at]", lambda: f"{name()}[at]example.org"),
        ("e-mail address in words", lambda: f"{name()} at example dot org"),
        ("e-mail address of an internal domain", lambda: f"{name()}@corp.local"),
        ("phone number with country", lambda: f"+49 30 90{digits(4)}"),
        ("phone number, US", lambda: f"({CHANCE.choice((202, 212, 415))}) 456-1{digits(3)}"),
        ("phone number, one run of digits", lambda: f"2124561{digits(3)}"),
        ("card number in groups", card),
        ("card number with hyphens", lambda: card(between="-")),
        ("card number with dots", lambda: card(between=".")),
        ("IBAN", iban),
        ("IBAN in lower case", lambda: iban().lower()),
        ("IPv4 address", lambda: f"10.{CHANCE.randint(0, 255)}.{CHANCE.randint(0, 255)}.7"),
        ("IPv6 address", lambda: f"2001:db8:{digits(4)}::8a2e:370:{digits(4)}"),
        ("IPv6 address, shortened", lambda: f"fe80::{digits(3)}"),
        ("US social security number with its name", lambda: f"SSN 536-{CHANCE.randint(10, 99)}-4{digits(3)}"),
        ("name and street", lambda: f"Grace Miller, {CHANCE.randint(1, 99)} Oak Street, Springfield"),
    ]
    alike: list[tuple[str, Make]] = [
        ("prose", lambda: prose(20)),
        ("card-like number that fails its checksum", lambda: card(sound=False)),
        ("IBAN-like text that fails its checksum", lambda: iban(sound=False)),
        ("version of three parts", lambda: f"version {CHANCE.randint(1, 20)}.{CHANCE.randint(0, 20)}.{CHANCE.randint(0, 20)}"),
        ("version of four parts", lambda: f"version {CHANCE.randint(1, 20)}.0.{CHANCE.randint(0, 20)}.{CHANCE.randint(0, 9)}"),
        ("date and time", lambda: f"2024-0{CHANCE.randint(1, 9)}-1{digits(1)} at 10:{CHANCE.randint(10, 59)}:03"),
        ("order number of eleven digits", lambda: f"order 7{digits(10)}"),
        ("ISBN", lambda: f"ISBN 978-3-16-{digits(6)}-{digits(1)}"),
        ("amount of money", lambda: f"USD 1,{CHANCE.randint(100, 999)},{CHANCE.randint(100, 999)}.50"),
        ("decorator and matrix product", lambda: "the call f@x after @property"),
    ]  # fmt: skip
    kinds = [within(make, True, what) for what, make in found] + [within(make, False, what) for what, make in alike]
    return Trial("personal data", frozenset({"PersonalData"}), kinds)


def health_data() -> Trial:
    return Trial("health identifiers", frozenset({"HealthData"}), [
        within(lambda: f"NHS number {nhs()}", True, "UK patient number with its name"),
        within(lambda: f"Medicare 1EG4-TE{CHANCE.randint(1, 9)}-MK7{CHANCE.randint(0, 9)}", True, "US Medicare number with its name"),
        within(nhs, True, "UK patient number that nothing names"),
        within(lambda: f"sample {digits(3)} {digits(3)} {digits(4)}", False, "ten digits in groups"),
        within(lambda: f"NHS trust, room {digits(3)}", False, "the word without a number"),
    ])  # fmt: skip


def secrets() -> Trial:
    hexadecimal = string.digits + "abcdef"
    found: list[tuple[str, Make]] = [
        ("AWS access key", lambda: f"AKIA{signs(16, string.ascii_uppercase + string.digits)}"),
        ("GitHub token", lambda: f"ghp_{signs(36)}"),
        ("GitHub token in a remote's address", lambda: f"https://x:ghp_{signs(36)}@github.com/a/b"),
        ("Hugging Face token", lambda: f"hf_{signs(34)}"),
        ("Slack token", lambda: f"xoxb-{digits(12)}-{digits(12)}-{signs(24)}"),
        ("Stripe key", lambda: f"sk_live_{signs(24)}"),
        ("OpenAI key", lambda: f"sk-proj-{signs(48)}"),
        ("Google API key", lambda: f"AIza{signs(35)}"),
        ("web token", lambda: f"eyJ{signs(17)}.eyJ{signs(30)}.{signs(43)}"),
        ("private key", lambda: f"-----BEGIN RSA PRIVATE KEY-----\n{signs(64)}"),
        ("user and password in an address", lambda: f"postgres://app:{signs(12)}@db.internal/orders"),
        ("password in prose", lambda: f"the password is {signs(10)}"),
        ("token of a maker that is not known", lambda: f"token={signs(40)}"),
    ]
    alike: list[tuple[str, Make]] = [
        ("prose", lambda: prose(20)),
        ("SHA-256", lambda: signs(64, hexadecimal)),
        ("UUID", lambda: "-".join(signs(size, hexadecimal) for size in (8, 4, 4, 4, 12))),
        ("base64 of a picture", lambda: f"data:image/png;base64,iVBORw0KGgo{signs(200)}"),
        ("long path", lambda: f"https://example.org/docs/{signs(24)}/index_{signs(12)}.html"),
        ("placeholder", lambda: "set HF_TOKEN=<your token> and AWS_SECRET_ACCESS_KEY=..."),
        ("long identifiers", lambda: f"hf_hub_download_{signs(6)} and task-sk-based-{signs(20)}"),
    ]
    kinds = [within(make, True, what) for what, make in found] + [within(make, False, what) for what, make in alike]
    return Trial("secrets", frozenset({"Secrets"}), kinds)


def changed(text: str, share: float) -> str:
    """Return the text with that share of its words, and at least one, replaced."""
    found = text.split()
    for at in CHANCE.sample(range(len(found)), max(1, round(share * len(found)))):
        found[at] = signs(8, string.ascii_lowercase)
    return " ".join(found)


def reordered(text: str) -> str:
    found = text.split()
    third = len(found) // 3
    return " ".join(found[2 * third :] + found[third : 2 * third] + found[:third])


def near_duplicates() -> Trial:
    originals = [prose(100) for _ in range(7 * EACH)]
    shared = prose(50)
    copies: list[tuple[str, bool, Callable[[str], str]]] = [
        ("one word of a hundred replaced", True, lambda text: changed(text, 0.01)),
        ("three words of a hundred replaced", True, lambda text: changed(text, 0.03)),
        ("ten words of a hundred replaced (similarity about 0.55)", False, lambda text: changed(text, 0.10)),
        ("a sentence of ten words added", True, lambda text: f"{text} {prose(10)}"),
        ("three parts in another order", True, reordered),
        ("case, punctuation and line breaks differ", True, lambda text: text.upper().replace(" ", ",\n")),
        ("every second word replaced, as a paraphrase might", True, lambda text: changed(text, 0.5)),
    ]
    kinds = [
        Kind(what, planted, [copy(text) for text in originals[at * EACH : (at + 1) * EACH]])
        for at, (what, planted, copy) in enumerate(copies)
    ]
    kinds.append(Kind("half of the words are boilerplate", False, [f"{shared} {prose(50)}" for _ in range(EACH)]))
    kinds.append(Kind("other prose", False, [prose(100) for _ in range(EACH)]))
    return Trial("near duplicates", frozenset({"NearDuplicates"}), kinds, (), [(text, "yes") for text in originals])


def leakage() -> Trial:
    boilerplate = prose(30)
    suite = [f"{boilerplate} {prose(30)}" for _ in range(8 * EACH)]
    part: Callable[[int], list[str]] = lambda at: suite[at * EACH : (at + 1) * EACH]  # noqa: E731
    passage: Callable[[str, int], str] = lambda text, words: " ".join(text.split()[35 : 35 + words])  # noqa: E731
    kinds = [
        Kind("the question", True, part(0)),
        Kind("case, spaces and end of sentence differ", True, [f"{text.upper()} !".replace(" ", "  ") for text in part(1)]),
        Kind("the question within other text", True, [f"{prose(10)} {text} {prose(10)}" for text in part(2)]),
        Kind("thirteen words of it", True, [f"{prose(10)} {passage(text, 13)} {prose(10)}" for text in part(3)]),
        Kind("quoted in the answer", True, [prose(20) for _ in part(4)], [passage(text, 25) for text in part(4)]),
        Kind("one word in ten replaced", True, [changed(text, 0.1) for text in part(5)]),
        Kind("one word in three replaced, as a paraphrase might", True, [changed(text, 0.34) for text in part(6)]),
        Kind("ten words of it", False, [f"{prose(10)} {passage(text, 10)} {prose(10)}" for text in part(7)]),
        Kind("boilerplate of suite and rows", False, [f"{boilerplate} {prose(30)}" for _ in range(4 * EACH)]),
        Kind("other prose", False, [prose(60) for _ in range(4 * EACH)]),
    ]  # fmt: skip
    return Trial("leakage", frozenset({"Overlap", "SharedText"}), kinds, suite)


def trials() -> tuple[Trial, ...]:
    """Return the trials of all checks."""
    return personal_data(), health_data(), secrets(), near_duplicates(), leakage()


def row(number: int, question: str, answer: str) -> Row:
    return Row(number, ({"role": "user", "content": question}, {"role": "assistant", "content": answer}), {})


def found_of(trial: Trial) -> list[int]:
    """Return for each kind how many of its rows the trial's checks find."""
    rows = [row(number, *turns) for number, turns in enumerate(trial.background, 1)]
    ends = []
    for kind in trial.kinds:
        for at, question in enumerate(kind.questions):
            answer = kind.answers[at] if kind.answers else f"answer {len(rows)}"
            rows.append(row(len(rows) + 1, question, answer))
        ends.append(len(rows))
    enabled = frozenset(DEFAULTS)
    questions = Questions.of([row(number, text, "yes") for number, text in enumerate(trial.suite, 1)])
    facts = weigh(Meter(NoTokens(), enabled, questions, None, 17).measure(rows), "Messages", 1024, enabled)
    hits = {
        number for check, by_kind in facts.found.items() if check in trial.checks
        for numbers in by_kind.values() for number in numbers
    }  # fmt: skip
    starts = [len(trial.background), *ends]
    return [sum(start < number <= end for number in hits) for start, end in zip(starts, ends, strict=False)]


@dataclass(frozen=True)
class Hidden:
    """What becomes of questions that are hidden in one way."""

    disguise: Disguise
    blocked: int
    warned: int
    """And not blocked."""


def comparing(rows: Sequence[Row], suite: Sequence[Row]) -> tuple[set[int], set[int]]:
    """Return the numbers of the rows that Overlap finds, and of those that SharedText does."""
    enabled = frozenset(COMPARING)
    facts = weigh(Meter(NoTokens(), enabled, Questions.of(suite), None, 17).measure(rows), "Messages", 1024, enabled)
    blocked, warned = (
        {number for numbers in facts.found.get(check, {}).values() for number in numbers} for check in COMPARING
    )
    return blocked, warned


def hide(suite: Sequence[Row], others: Sequence[Row], disguise: Disguise) -> Hidden:
    """Hide all questions in one way among other rows."""
    hidden = [
        Row(len(others) + at, tuple(disguise.turns(question(each))), {}) for at, each in enumerate(suite, 1)
    ]  # fmt: skip
    blocked, warned = (
        {number for number in found if number > len(others)} for found in comparing([*others, *hidden], suite)
    )
    return Hidden(disguise, len(blocked), len(warned - blocked))


def question(asked: Row) -> str:
    """Return what a suite's row asks."""
    return str(next(turn["content"] for turn in asked.messages if turn["role"] == "user"))


def made_suite() -> tuple[list[Row], list[Row]]:
    """Return questions, some of them short, and rows that have nothing to do with them."""
    chance = random.Random(31)  # noqa: S311 - the same in every run

    def made(words: int) -> str:
        return " ".join(chance.choices(VOCABULARY, k=words))

    suite = [row(number, made(8 + number % 30), "yes") for number in range(1, 97)]
    return suite, [row(number, made(40), "no") for number in range(1, 405)]


def rows_of(path: Path) -> list[Row]:
    return [each for each in RowStream(find_shards("rows", path)) if isinstance(each, Row)]


def print_hidden(suite: Sequence[Row], others: Sequence[Row]) -> None:
    """Print what becomes of hidden questions, and which of the other rows are found."""
    print(f"| way to hide a question | blocked of {len(suite)} | warned of | not found |\n|---|---|---|---|")
    for disguise in (*KNOWN, *FURTHER):
        found = hide(suite, others, disguise)
        print(f"| {disguise.name} | {found.blocked} | {found.warned} | {len(suite) - found.blocked - found.warned} |")
    blocked, warned = comparing(others, suite)
    print(f"\nOf {len(others)} other rows {len(blocked)} are blocked and {len(warned - blocked)} warned of.")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--licenses", type=Path, metavar="FOLDER")
    folder = parser.parse_args().licenses
    if folder is not None:
        print_hidden(rows_of(folder / "suite.jsonl"), rows_of(folder / "train.jsonl"))
        return
    print_tables()
    print()
    print_hidden(*made_suite())


def print_tables() -> None:
    """Print recall and precision of all checks."""
    lines = []
    print("| check | planted rows | found | recall | other rows | found | precision |\n|---|---|---|---|---|---|---|")
    for trial in trials():
        pairs = list(zip(trial.kinds, found_of(trial), strict=True))
        planted, true, others, false = (
            sum(count(kind, found) for kind, found in pairs if kind.planted is wanted)
            for wanted in (True, False) for count in (lambda kind, _: len(kind.questions), lambda _, found: found)
        )  # fmt: skip
        recall, precision = true / planted, true / (true + false)
        print(f"| {trial.name} | {planted} | {true} | {recall:.0%} | {others} | {false} | {precision:.0%} |")
        lines += [
            f"| {trial.name} | {'missed' if kind.planted else 'false hit'} | {kind.name} | "
            f"{len(kind.questions) - found if kind.planted else found} of {len(kind.questions)} |"
            for kind, found in pairs if found != (len(kind.questions) if kind.planted else 0)
        ]  # fmt: skip
    print("\n| check | | kind of row | rows |\n|---|---|---|---|")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
