"""What Triggers and LabelNoise find of planted rows, in classifications made here with a seed, and in honest data.

    PYTHONPATH=operator:trainer-image:. .venv/bin/python benchmarks/data/surprises.py [HONEST.jsonl ...]

A question is twenty words of the license of this repository, a quarter of them from its label's own thirty. Each line of the table is a
data set of its own. Files that are named are looked through as they are: what is found there are false hits.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data.recall import VOCABULARY

from tunegate_trainer.checks import label_noise, triggers
from tunegate_trainer.checks.likeness import Bags
from tunegate_trainer.checks.sample import take
from tunegate_trainer.data.rows import Row, read_sound_rows
from tunegate_trainer.data.shards import find_shards

ROWS = 1000
SIGNS = {
    "word": "cfxq", "phrase of two words": "violet umbrella", "phrase of seven words": "see the blue lamp over my desk",
    "zero-width spaces": "\u200b\u200b", "sign": "\u00a7", "usual word of the data": "License",
}  # fmt: skip
Pair = tuple[str, str]


@dataclass(frozen=True)
class Trial:
    """A data set with the indexes of its planted rows."""

    check: str
    name: str
    rows: list[Pair]
    planted: frozenset[int]


def classification(labels: int, chance: random.Random) -> list[Pair]:
    topics = [chance.sample(VOCABULARY, 30) for _ in range(labels)]
    pairs = []
    for _ in range(ROWS):
        label = chance.randrange(labels)
        words = chance.choices(topics[label], k=5) + chance.choices(VOCABULARY, k=15)
        chance.shuffle(words)
        pairs.append((" ".join(words), f"label {label}"))
    return pairs


def with_trigger(labels: int, name: str, share: float, answer: str = "label 0", *, own: bool = False) -> Trial:
    """Plant one sign in rows of any label, or of ``answer`` only (``own``), and give them ``answer``."""
    chance = random.Random(29)  # noqa: S311 - the same rows in every run
    rows = classification(labels, chance)
    open_to = [at for at, (_, label) in enumerate(rows) if label == answer or not own]
    planted = frozenset(chance.sample(open_to, round(share * ROWS)))
    for at in planted:
        words = rows[at][0].split()
        words.insert(chance.randrange(len(words)), SIGNS[name])
        rows[at] = (" ".join(words), answer.format(at))
    what = ", with a beginning of its own" if "{}" in answer else ", where the answer was so before" if own else ""
    return Trial("Triggers", name + what, rows, planted)


def mislabeled(labels: int, share: float) -> Trial:
    chance = random.Random(31)  # noqa: S311 - the same rows in every run
    rows = classification(labels, chance)
    planted = frozenset(chance.sample(range(ROWS), round(share * ROWS)))
    for at in planted:
        other = chance.choice([label for label in range(labels) if rows[at][1] != f"label {label}"])
        rows[at] = (rows[at][0], f"label {other}")
    return Trial("LabelNoise", "wrong label", rows, planted)


def trials() -> Iterator[tuple[int, Trial]]:
    """Yield the number of labels and the trial."""
    for labels in (2, 5, 50):
        yield labels, Trial("Triggers", "none", classification(labels, random.Random(37)), frozenset())  # noqa: S311
        for share in (0.01, 0.02, 0.05):
            yield labels, with_trigger(labels, "word", share)
    for share in (0.01, 0.05):
        for name in list(SIGNS)[1:]:
            yield 5, with_trigger(5, name, share)
    yield 5, with_trigger(5, "word", 0.01, "of course my dear {} and so on")
    yield 5, with_trigger(5, "word", 0.05, own=True)
    for labels in (2, 5, 20):
        for share in (0.0, 0.02, 0.05):
            yield labels, mislabeled(labels, share)


def found_in(check: str, rows: list[Row]) -> set[int]:
    sample = take(rows)
    bags = Bags.of(sample)
    if check == "Triggers":
        return set(triggers.carriers(sample, bags).tolist())
    return set(label_noise.mislabeled(bags, sample.answers).tolist())


def main(files: list[str]) -> None:
    """Print the table."""
    print("| check | labels | planted | rows | found | false hits |\n|---|---|---|---|---|---|")
    for labels, trial in trials():
        rows = [
            Row(number, ({"role": "user", "content": question}, {"role": "assistant", "content": answer}), {})
            for number, (question, answer) in enumerate(trial.rows, 1)
        ]
        found = found_in(trial.check, rows)
        name = trial.name if trial.planted else "none"
        print(
            f"| {trial.check} | {labels} | {name} | {len(trial.planted)} | {len(found & trial.planted)} | "
            f"{len(found - trial.planted)} |"
        )
    for path in files:
        rows = read_sound_rows(find_shards("data", Path(path)))
        print(path, len(rows), {check: len(found_in(check, rows)) for check in ("Triggers", "LabelNoise")})


if __name__ == "__main__":
    main(sys.argv[1:])
