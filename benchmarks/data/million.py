"""Rates and memory of validation on synthetic rows, beside presidio, datasketch and a plain pandas script, in one run.

    tests/in_trainer_image.sh --run benchmarks/data/million.py --model /cache/models/smollm2 --tools /cache/test-tools

Every measurement is a process of its own, bound to as many processors as it may use, its libraries loaded. Ours is the
validate stage itself, as a pod runs it. Memory is the largest sum over all its processes (proportional set size: shared pages count once). Groups of
checks and pandas work on the first `SAMPLE` rows, the slow alternatives on fewer; the table says on how many.

Rows are synthetic, with a seed: 125 to 165 words drawn from the license's text, one in twenty with an e-mail address and a
card number, one in ten a near copy of the row before it. `--language-model` names an installed spaCy model, which
presidio's default pipeline needs; without, only its recognizers run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from tunegate import digests
from tunegate.api.computepool import ComputePoolSpec
from tunegate.api.datachecks import DEFAULTS, CheckSetting
from tunegate.api.evaluationsuite import EvaluationSuiteSpec
from tunegate.api.finetunejob.spec import Intent, Method
from tunegate.api.manifest import Manifest
from tunegate.api.modelserver import EngineProfile
from tunegate.api.stage.configs import (
    BaseModelInput,
    DataOrigin,
    DatasetInput,
    JobIdentity,
    RegistryTarget,
    SuiteInput,
    ValidateConfig,
)

SAMPLE = 20_000
"""Rows on which groups of checks are timed; more than 16 MB, from which the stage shares them between processes."""
SLOW_SAMPLES = {"presidio": 300, "presidio-model": 150, "datasketch": 3_000, "pandas": SAMPLE}
QUESTIONS = 100
BASIC = frozenset(
    {"BrokenRows", "Template", "ControlTokens", "TooLong", "Duplicates", "Contradictions", "UnusedRejected"}
)
"""Checks that cost nothing of their own: they come with reading, rendering and counting tokens."""
GROUPS: dict[str, frozenset[str]] = {
    "invisible characters, copies, refusals": frozenset({"InvisibleCharacters", "CopiedInput", "Refusals"}),
    "leakage": frozenset({"Overlap", "SharedText"}),
    "near duplicates": frozenset({"NearDuplicates"}),
    "personal data, health, secrets": frozenset({"PersonalData", "HealthData", "Secrets"}),
}
MIB = 1 << 20


def groups() -> dict[str, frozenset[str]]:
    """Return what is measured by itself; a check that no group names is one."""
    named = BASIC.union(*GROUPS.values())
    return {"none": frozenset(), **GROUPS, **{name: frozenset({name}) for name in DEFAULTS if name not in named}}


def make_rows(count: int) -> Iterator[dict[str, Any]]:
    """Yield conversations, the same in every run."""
    chance = random.Random(17)  # noqa: S311 - reproducible
    vocabulary = (Path(__file__).resolve().parents[2] / "LICENSE").read_text().split()
    words: list[str] = []
    for number in range(count):
        if number % 10 == 9:
            words[chance.randrange(len(words))] = "edited"
        else:
            words = chance.choices(vocabulary, k=chance.randint(125, 165))
        private = f" person{number}@example.org 4111 1111 1111 1111" if number % 20 == 1 else ""
        turns = [
            {"role": "user", "content": " ".join(words) + private}, {"role": "assistant", "content": f"answer {number}"}
        ]  # fmt: skip
        yield {"messages": turns}


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    with path.open("w") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def make_config(model: Path, data: Path, questions: Path, checks: frozenset[str]) -> ValidateConfig:
    """Return what a pod would be told; of the checks that can be off, all but ``checks`` are."""
    from tunegate_trainer.inputs import model_files

    manifest = Manifest(files=[digests.file_entry(model, path) for path in model_files(model)[0]])
    suite = EvaluationSuiteSpec.model_validate(
        {
            "data": {"uri": "pvc://data/suite.jsonl", "digest": digests.file_digest(questions)},
            "task": {"type": "Extraction", "maxTokens": 64},
            "primaryMetric": {"name": "ExactMatch"},
        }
    )
    return ValidateConfig(
        job=JobIdentity(namespace="benchmark", name="data", uid="0a1b2c3d-0000-4000-8000-000000000000", attempt=1),
        registry=RegistryTarget(host="localhost", repository="benchmark"),
        base_model=BaseModelInput(
            name="model", path=str(model), context_length=8192, manifest=manifest,
            manifest_digest=digests.manifest_digest(manifest),
        ),
        profile=EngineProfile(image="registry/engine@sha256:" + "0" * 64, device="CPU", max_model_len=2048, max_lora_rank=16),
        dataset=DatasetInput(path=str(data)),
        suite=SuiteInput(
            name="suite", path=str(questions), digest=digests.document_digest(suite.to_dict()), spec=suite
        ),
        intent=Intent(task_type="Format"),
        method=Method.model_validate({"type": "LoRA", "maxLength": 1024}),
        checks=[
            setting if setting.name in BASIC | checks else CheckSetting(name=setting.name, action="Off")
            for setting in DEFAULTS.values()
        ],
        origin=DataOrigin(
            uri="pvc://data/rows.jsonl", source="made by a script", license="CC0-1.0", classification="Public", steward=""
        ),
        pool=ComputePoolSpec(device_memory="64Gi", throughput="20", cleared_for=["Public"]),
    )  # fmt: skip


def validate(config: ValidateConfig) -> int:
    """Run the stage and return the rows it read."""
    from tunegate.registry.client import RegistryClient
    from tunegate_trainer import validation
    from tunegate_trainer.context import Places, StageContext
    from tunegate_trainer.progress import ProgressBoard

    with tempfile.TemporaryDirectory() as folder:
        places = Places(**dict.fromkeys(Places.__dataclass_fields__, Path(folder)))
        context = StageContext(places, RegistryClient("localhost"), ProgressBoard("Validate"))
        return validation.examine(config, context).result.rows


def texts_of(path: Path, count: int) -> list[str]:
    with path.open() as stream:
        return [json.loads(line)["messages"][0]["content"] for line in islice(stream, count)]


def presidio(path: Path, count: int, language_model: str | None) -> Callable[[], object]:
    """Return the search of presidio's engine with its default recognizers, libraries loaded."""
    import spacy
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    engine = SpacyNlpEngine()
    models = {"en": spacy.load(language_model) if language_model else spacy.blank("en")}
    engine.nlp = models  # type: ignore[assignment]  # declared as None
    analyzer = AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])
    analyzer.analyze("warm up", language="en")
    texts = texts_of(path, count)
    return lambda: [analyzer.analyze(text, language="en") for text in texts]


def datasketch(path: Path, count: int) -> Callable[[], object]:
    """Return its usual way to find near duplicates, with our shingles and values."""
    from datasketch import MinHash, MinHashLSH

    texts = texts_of(path, count)

    def work() -> None:
        index = MinHashLSH(threshold=0.7, num_perm=128)
        for number, text in enumerate(texts):
            words = text.lower().split()
            minhash = MinHash(num_perm=128)
            minhash.update_batch([" ".join(words[at : at + 3]).encode() for at in range(len(words) - 2)])
            index.query(minhash)
            index.insert(str(number), minhash)

    return work


def pandas(path: Path) -> Callable[[], object]:
    """Return what people write in an afternoon: all rows in memory, repetitions, contradictions, lengths, two patterns."""
    import pandas as library

    def work() -> None:
        table = library.read_json(path, lines=True)
        asked = table["messages"].map(lambda turns: turns[0]["content"])
        said = table["messages"].map(lambda turns: turns[-1]["content"])
        folded = asked.str.lower().str.split().str.join(" ")
        _ = (
            folded.duplicated().sum(),
            (said.groupby(folded).nunique() > 1).sum(),
            asked.str.split().str.len().describe(),
        )
        _ = asked.str.contains(r"[\w.+-]+@[\w-]+\.[\w.]+").sum(), asked.str.contains(r"(?:\d[ -]?){13,16}").sum()

    return work


def measure(options: argparse.Namespace) -> None:
    """Be one of the processes that are measured: print rows and seconds."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.processes])
    data, folder = options.measured, options.measured.parent
    if options.what.startswith("ours:"):
        name = options.what.removeprefix("ours:")
        checks = frozenset(DEFAULTS) if name == "all" else groups()[name]
        suite = folder / "suite.jsonl"
        validate(make_config(options.model, suite, suite, checks))
        config = make_config(options.model, data, suite, checks)
        start = time.perf_counter()
        rows = validate(config)
    else:
        sys.path.append(str(options.tools))
        rows = SLOW_SAMPLES[options.what]
        work = {
            "presidio": lambda: presidio(data, rows, None),
            "presidio-model": lambda: presidio(data, rows, options.language_model),
            "datasketch": lambda: datasketch(data, rows),
            "pandas": lambda: pandas(data),
        }[options.what]()
        start = time.perf_counter()
        work()
    print(json.dumps({"rows": rows, "seconds": time.perf_counter() - start}))


def memory_of(group: int) -> int:
    """Return the bytes of all processes of a process group, pages that they share counted once."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) == group:
                total += int((folder / "smaps_rollup").read_text().split("Pss:")[1].split()[0]) * 1024
        except (OSError, IndexError):
            continue  # it ended meanwhile
    return total


def run(options: argparse.Namespace, data: Path, what: str, processes: int = 1) -> tuple[int, float, int]:
    """Return rows, seconds and peak bytes of one measurement. Raises ``RuntimeError`` when it fails."""
    command = [
        sys.executable, __file__, "--model", options.model, "--measured", data, "--what", what,
        "--processes", str(processes), "--language-model", options.language_model or "", "--tools", options.tools or "",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": str(processes), "RAYON_NUM_THREADS": str(processes)}
    peak = 0
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, start_new_session=True)
        while process.poll() is None:
            peak = max(peak, memory_of(process.pid))
            time.sleep(1)
        log.seek(0)
        if process.returncode or process.stdout is None:
            raise RuntimeError(f"{what}: {log.read().decode()[-2000:]}")
        found = json.loads(process.stdout.read().splitlines()[-1])
    return found["rows"], found["seconds"], peak


def table(options: argparse.Namespace, whole: Path, sample: Path) -> Iterator[str]:
    """Yield the lines of the table, as they are measured."""
    yield "| what | processes | rows | rows/s | µs a row beyond none | peak MiB, all processes |"
    yield "|---|---|---|---|---|---|"

    def line(name: str, data: Path, what: str, processes: int = 1) -> str:
        rows, seconds, peak = run(options, data, what, processes)
        own = seconds / rows
        costs[what] = own
        beyond = f"{(own - costs['ours:none']) * 1e6:.0f}" if what.startswith("ours:") else ""
        return f"| {name} | {processes} | {rows:,} | {rows / seconds:,.0f} | {beyond} | {peak / MIB:,.0f} |"

    costs: dict[str, float] = {}
    yield line("none: reading, form, template, tokens, exact repetition", sample, "ours:none")
    for name in groups():
        if name != "none":
            yield line(f"none and {name}", sample, f"ours:{name}")
    yield line("all, sample", sample, "ours:all")
    ours = dict(costs)
    for processes in options.whole_on:
        yield line("**all**", whole, "ours:all", processes)
    for name in SLOW_SAMPLES:
        if name != "presidio-model" or options.language_model:
            yield line(ALTERNATIVES[name], sample, name)
    yield ""
    yield from ratios({**costs, "ours:all": ours["ours:all"]})


ALTERNATIVES = {
    "presidio": "presidio's default recognizers, no language model",
    "presidio-model": "presidio's default pipeline with a language model",
    "datasketch": "datasketch, 128 values",
    "pandas": "plain pandas script",
}
COMPARED = {
    "presidio": "ours:personal data, health, secrets", "presidio-model": "ours:personal data, health, secrets",
    "datasketch": "ours:near duplicates", "pandas": "ours:all",
}  # fmt: skip


def ratios(costs: dict[str, float]) -> Iterator[str]:
    """Yield the alternatives' time for a row by ours for the same work, and by ours for everything."""
    yield "| alternative | its time by that of our checks of the kind | by that of our whole validation |"
    yield "|---|---|---|"
    for name, said in ALTERNATIVES.items():
        if name in costs:
            kind = costs[COMPARED[name]] - (0 if name == "pandas" else costs["ours:none"])
            yield f"| {said} | {costs[name] / kind:.1f} | {costs[name] / costs['ours:all']:.1f} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of a base model")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument(
        "--whole-on",
        type=int,
        nargs="+",
        default=[1, 2],
        metavar="PROCESSES",
        help="how often, and by how many, all rows are checked",
    )
    parser.add_argument("--tools", type=Path, help="folder of packages that the image lacks: datasketch")
    parser.add_argument("--language-model", help="an installed spaCy model, for presidio's default pipeline")
    for name, kind in (("--measured", Path), ("--what", str), ("--processes", int)):
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measured:
        measure(options)
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_rows(folder / "suite.jsonl", islice(make_rows(2 * QUESTIONS), QUESTIONS, None))
        whole = write_rows(folder / "rows.jsonl", make_rows(options.rows))
        sample = write_rows(folder / "sample.jsonl", make_rows(min(SAMPLE, options.rows)))
        print(f"{whole.stat().st_size / 1e6:,.0f} MB, {len(os.sched_getaffinity(0))} processors\n", flush=True)
        for line in table(options, whole, sample):
            print(line, flush=True)


if __name__ == "__main__":
    main()
