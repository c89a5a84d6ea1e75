"""Rows a second of the data checks, one by one and all together, beside the obvious alternatives, in one run.

Needs the trainer image's libraries and a base model's folder with tokenizer and chat template:

    tests/in_trainer_image.sh --run benchmarks/data_checks.py --model /cache/models/smollm2 --rows 20000

Rows are synthetic: 150 to 190 words drawn from the license's text, one in twenty with an e-mail address or a card number, one
in ten a near copy of an earlier row. Alternatives work on the same texts: presidio's own engine with a blank pipeline (its
default asks for a language model that has to be fetched), and datasketch where it is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tunegate.api.datachecks import DEFAULTS, DataCheck
from tunegate_trainer.checks.leakage import Questions
from tunegate_trainer.checks.meter import Meter
from tunegate_trainer.checks.scan import scan
from tunegate_trainer.data.conversations import ChatTokenizer
from tunegate_trainer.data.rows import Row, RowStream
from tunegate_trainer.data.shards import find_shards
from tunegate_trainer.validation.data_checks import weigh

SAMPLE = 500
"""Rows that the slow alternatives are timed on."""
GROUPS: dict[str, frozenset[DataCheck]] = {
    "reading, form, tokens, exact repetition": frozenset(),
    "+ text (invisible, copies, refusals)": frozenset({"InvisibleCharacters", "CopiedInput", "Refusals"}),
    "+ leakage": frozenset({"Overlap", "SharedText"}),
    "+ near duplicates": frozenset({"NearDuplicates"}),
    "+ personal data, health, secrets": frozenset({"PersonalData", "HealthData", "Secrets"}),
    "all": frozenset(DEFAULTS),
}


def make_rows(count: int) -> Iterator[dict[str, Any]]:
    """Yield synthetic conversations, the same in every run."""
    chance = random.Random(17)  # noqa: S311 - reproducible
    vocabulary = (Path(__file__).resolve().parents[1] / "LICENSE").read_text().split()
    earlier: list[str] = []
    for number in range(count):
        words = chance.choices(vocabulary, k=chance.randint(150, 190))
        if earlier and number % 10 == 0:
            words = earlier
            words[chance.randrange(len(words))] = "edited"
        if number % 20 == 1:
            words += [f"person{number}@example.org", "4111 1111 1111 1111"]
        earlier = words
        turns = [{"role": "user", "content": " ".join(words)}, {"role": "assistant", "content": f"answer {number}"}]
        yield {"messages": turns}


def timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def show(name: str, rows: int, seconds: float) -> None:
    print(f"{name:<46} {rows:>8} rows {seconds:>8.1f} s {rows / seconds:>8.0f} rows/s", flush=True)


def ours(path: Path, model: Path, rows: int, workers: int) -> None:
    tokenizer = ChatTokenizer(model)
    questions = Questions.of([Row(1, tuple(value["messages"]), {}) for value in make_rows(200)][100:])
    for name, checks in GROUPS.items():
        meter = Meter(tokenizer, checks, questions, None, 17)
        meter.measure([Row(1, ({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}), {})])
        stream = RowStream(find_shards("data set", path))

        def work(stream: RowStream = stream, meter: Meter = meter, checks: frozenset[DataCheck] = checks) -> None:
            weigh(scan(stream, meter, lambda _: None, workers, worth_sharing=0), stream.form, 2048, checks)

        show(f"{name}, {workers} process{'es' * (workers > 1)}", rows, timed(work))


def alternatives(path: Path) -> None:
    texts = [json.loads(line)["messages"][0]["content"] for line in path.open()][:SAMPLE]
    import spacy
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    engine = SpacyNlpEngine()
    engine.nlp = {"en": spacy.blank("en")}
    analyzer = AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])
    analyzer.analyze("warm up", language="en")
    show(
        "presidio's engine, blank pipeline", SAMPLE, timed(lambda: [analyzer.analyze(t, language="en") for t in texts])
    )
    try:
        from datasketch import MinHash, MinHashLSH
    except ImportError:
        return

    def sketch() -> None:
        index = MinHashLSH(threshold=0.7, num_perm=128)
        for number, text in enumerate(texts):
            words = text.split()
            minhash = MinHash(num_perm=128)
            minhash.update_batch([" ".join(words[at : at + 3]).encode() for at in range(len(words) - 2)])
            index.query(minhash)
            index.insert(str(number), minhash)

    show("datasketch, 128 values", SAMPLE, timed(sketch))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of a base model")
    parser.add_argument("--rows", type=int, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        with path.open("w") as stream:
            stream.writelines(json.dumps(row) + "\n" for row in make_rows(options.rows))
        print(f"{path.stat().st_size / 1e6:.0f} MB, {len(os.sched_getaffinity(0))} processors")
        for workers in (1, 2):
            ours(path, options.model, options.rows, workers)
        alternatives(path)
    peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(f"peak memory: this process {peaks[0]:.0f} MiB, largest other {peaks[1]:.0f} MiB")


if __name__ == "__main__":
    main()
