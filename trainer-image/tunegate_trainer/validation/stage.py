"""The validate stage itself: gather findings and estimates, say Passed or Refused."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate import digests
from tunegate.api.datachecks import COMPARING
from tunegate.api.finetunejob.spec import Method
from tunegate.api.stage.configs import ValidateConfig
from tunegate.api.stage.findings import Finding
from tunegate.api.stage.layout import DATA_PAGE_MEDIA_TYPE, DATA_STATEMENT_MEDIA_TYPE
from tunegate.api.stage.results import ValidateResult
from tunegate.logs import event
from tunegate_trainer.adapter_checks import (
    check_adapter,
    check_files,
    check_recorded_base,
    has_files,
    take_adapter,
)
from tunegate_trainer.base_weights import read_weights
from tunegate_trainer.checks import language_model
from tunegate_trainer.checks.leakage import Questions
from tunegate_trainer.checks.meter import Meter
from tunegate_trainer.checks.scan import scan
from tunegate_trainer.context import StageContext
from tunegate_trainer.data.conversations import ChatTokenizer
from tunegate_trainer.data.rows import RowStream, read_sound_rows
from tunegate_trainer.data.shards import Shards, open_dataset, open_suite
from tunegate_trainer.data.splitting import in_development
from tunegate_trainer.evaluation.documents import load_documents
from tunegate_trainer.evaluation.power import smallest_visible_gain
from tunegate_trainer.evaluation.suite_checks import check_suite, check_suite_text, groups_of
from tunegate_trainer.findings import warn
from tunegate_trainer.inputs import check_base_model
from tunegate_trainer.meanwhile import meanwhile
from tunegate_trainer.modules import Architecture, read_architecture
from tunegate_trainer.validation import data_checks, estimates, limits
from tunegate_trainer.validation.data_checks import DataFacts, check_groups, check_questions, look_closer, weigh
from tunegate_trainer.validation.page import render_page
from tunegate_trainer.validation.redaction import Cut, Redacted, redact_data
from tunegate_trainer.validation.shown_rows import choose, read_examples
from tunegate_trainer.validation.sketching import sketch_of
from tunegate_trainer.validation.statement import make_statement
from tunegate_trainer.validation.suites import check_alternatives, compare_with

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cost:
    """What the training will take."""

    trainable: int
    memory: dict[str, int]
    hours: float
    money: float
    findings: list[Finding]
    throughput: float | None = None


@dataclass(frozen=True)
class Examined:
    """The verdict, and what it was reached from."""

    result: ValidateResult
    facts: DataFacts
    source: Shards
    trained: Shards | None
    """The source, or its redacted copy; None: the copy was not kept."""
    tokenizer: ChatTokenizer


def run(config: ValidateConfig, context: StageContext) -> ValidateResult:
    """Check, estimate, and keep the data statement with its page in the registry. Raises as ``examine`` does."""
    seen = examine(config, context)
    statement = make_statement(config, seen.result, seen.source)
    examples = read_examples(seen.trained, choose(seen.facts), seen.tokenizer) if seen.trained else []
    registry, repository = context.registry, config.registry.repository
    kept = {
        "statement_digest": registry.push_document(
            f"{repository}/results", digests.canonical(statement.to_dict()), DATA_STATEMENT_MEDIA_TYPE
        ),
        "page_digest": registry.push_document(
            f"{repository}/data", render_page(statement, examples).encode(), DATA_PAGE_MEDIA_TYPE
        ),
    }
    return seen.result.model_copy(update=kept)


def examine(config: ValidateConfig, context: StageContext, *, with_suite: bool = True) -> Examined:
    """Check and estimate, and keep nothing. Refused when any finding blocks.

    ``with_suite``: the questions of the job's suite are there; `plan` does without them where a person may not read them. Raises ``BadInput`` for inputs that are not what was promised.
    """
    context.progress.show(5, "comparing inputs with their digests")
    scratch = context.places.run
    base = check_base_model(config.base_model, context)
    folder = Path(base.root)
    shards, dataset_digest = open_dataset(config.dataset, scratch)
    asked, suite_digest = open_suite(config.suite, scratch) if with_suite else (None, config.suite.digest)
    questions = read_sound_rows(asked) if asked else []
    sketch = meanwhile(sketch_of, questions)
    profile_digest = digests.document_digest(config.profile.to_dict())
    context.notes.note(dataset=dataset_digest, suite=suite_digest, profile=profile_digest)
    context.progress.show(8, f"reading {len(config.further_suites)} further suites")
    compared = compare_with(config, questions if asked else None, suite_digest, scratch)
    documents = load_documents(config.documents) if config.documents else None
    if documents:
        context.notes.note(documents=documents.digest)
    told = check_alternatives(compared, config.author_prompt, documents.texts if documents else ())
    tokenizer = ChatTokenizer(folder)
    stream = RowStream(shards)
    found = _look(config, context, stream, compared.questions, tokenizer)
    facts = found.facts
    context.progress.show(80, "calculating memory, time and cost")
    development = _development(config, facts)
    architecture = read_architecture(folder)
    if config.method:
        cost = _training_cost(config, config.method, architecture, facts, development)
    else:
        cost = _import_cost(config, architecture, context)
    suite = config.suite.spec
    findings = [
        *data_checks.findings(facts, config.checks, stream),
        *found.findings,
        *check_groups(facts, config.dataset.group_field, shards.place),
        *check_questions(questions, suite, tokenizer, config.profile.max_model_len),
        *(check_suite(questions, suite, asked.place) if asked else check_suite_text(suite)),
        *compared.findings,
        *told,
        *_check_tokenizer(tokenizer),
        *limits.check_intent(config.intent),
        *limits.check_examples(config.intent.task_type, int(facts.distinct.sum()), facts.label_counts(), suite),
        *cost.findings,
    ]
    gain = smallest_visible_gain(groups_of(questions, suite))
    result = ValidateResult(
        outcome="Refused" if any(finding.action == "Block" for finding in findings) else "Passed",
        checks=config.checks,
        findings=findings,
        dataset_digest=dataset_digest,
        documents_digest=documents.digest if documents else None,
        redacted=found.data,
        rows_digest=facts.rows_digest(),
        dataset_form=stream.form or "unknown",
        dataset_files=len(shards.files),
        rows=facts.records,
        tokens=int(facts.rows["tokens"].sum()),
        longest_row_tokens=int(facts.rows["tokens"].max(initial=0)),
        token_histogram=facts.histogram(),
        rows_too_long=facts.count("TooLong"),
        duplicates=facts.count("Duplicates"),
        near_duplicates=facts.count_if_on("NearDuplicates"),
        overlap_rows=facts.count_if_on(*COMPARING),
        compared_suites=compared.suites,
        unusable_suites=compared.unusable,
        training_rows=int((~development).sum()),
        development_rows=int(development.sum()),
        suite_questions=len(questions),
        suite_sketch=sketch().text,
        trainable_parameters=cost.trainable,
        total_parameters=read_weights(folder).parameters,
        adapter_bytes=2 * cost.trainable,
        peak_memory_bytes=sum(cost.memory.values()),
        memory_parts=cost.memory,
        device_hours=round(cost.hours, 6),
        cost=round(cost.money, 4),
        savings=estimates.savings(config.economics, cost.money) if config.economics else None,
        throughput=cost.throughput,
        throughput_runs=config.learned.runs if config.learned and config.method else 0,
        smallest_visible_gain=round(gain, 4),
        chat_template_digest=tokenizer.template_digest,
    )
    _show(result, context)
    return Examined(result, facts, shards, found.shards, tokenizer)


def _look(
    config: ValidateConfig, context: StageContext, stream: RowStream, questions: Questions, tokenizer: ChatTokenizer
) -> Redacted:
    """Read all rows and, where something has to be redacted, write them without it and read what was written."""

    def read(rows: RowStream, percent: int) -> DataFacts:
        return _read(config, context, rows, percent, questions, tokenizer)

    facts = read(stream, 10)
    cut = Cut.of(facts, config.checks)
    if cut is None:
        return Redacted(facts, None, [], stream.shards)
    del facts  # most of the memory, and needed no more
    context.progress.show(40, f"redacting {len(cut.rows)} rows")
    field, workspace, scratch = config.dataset.group_field, context.places.workspace, context.places.run
    return redact_data(cut, stream, field, workspace, scratch, lambda rows: read(rows, 50))


def _read(
    config: ValidateConfig,
    context: StageContext,
    stream: RowStream,
    percent: int,
    questions: Questions,
    tokenizer: ChatTokenizer,
) -> DataFacts:
    """Read all rows, some of them twice, and calculate what the checks need."""
    enabled = frozenset(setting.name for setting in config.checks if setting.action != "Off")
    seed = config.method.seed if config.method else 0
    if "LanguageMix" in enabled:
        meanwhile(language_model.prepare)
    meter = Meter(tokenizer, enabled, questions, config.dataset.group_field, seed)
    measured = scan(stream, meter, lambda rows: context.progress.show(percent, f"{rows} rows read"))
    max_length = config.method.max_length if config.method else config.profile.max_model_len
    return look_closer(weigh(measured, stream.form, max_length, enabled), stream)


def _development(config: ValidateConfig, facts: DataFacts) -> Any:
    """Return which of the usable rows training keeps aside to choose its best checkpoint."""
    fraction = float(config.method.development_fraction) if config.method else 0.0
    return in_development(facts.rows["group"], fraction)[facts.usable]


def _training_cost(
    config: ValidateConfig, method: Method, architecture: Architecture, facts: DataFacts, development: Any
) -> Cost:
    lengths = facts.rows["tokens"][facts.usable]
    counts = estimates.TokenCounts(
        rows=int((~development).sum()),
        tokens=int(lengths[~development].sum()),
        longest=int(lengths.max(initial=0)),
        development_tokens=int(lengths[development].sum()),
    )
    trainable = architecture.trainable(architecture.targets(method.target_modules), method.rank)
    cuda = config.pool.device_resource is not None
    memory = estimates.memory_parts(architecture, method, trainable, counts.longest, cuda=cuda)
    throughput = float(config.learned.tokens_per_second if config.learned else config.pool.throughput)
    hours = estimates.device_hours(architecture, method, counts, throughput)
    money = hours * float(config.pool.price_per_device_hour)
    findings = [
        *limits.check_split(counts.rows, int(development.sum())),
        *limits.check_profile(method, config.profile, config.base_model.context_length),
        *limits.check_pool(method, config.pool, estimates.least_memory(memory, cuda=cuda), sum(memory.values())),
        *limits.check_budget(config.budget, hours, money, config.pool.currency),
    ]
    return Cost(trainable, memory, hours, money, findings, throughput)


def _import_cost(config: ValidateConfig, architecture: Architecture, context: StageContext) -> Cost:
    """An imported adapter costs no training; it must be one that the profile can serve."""
    source = Path(config.import_path or "")
    findings = check_files(source)
    if not has_files(source):
        return Cost(0, {}, 0.0, 0.0, findings)
    taken = take_adapter(source, context.places.run)
    context.notes.note(adapter=taken.digest)
    facts = check_adapter(taken.root, architecture, config.profile.max_lora_rank)
    findings += [*facts.findings, *check_recorded_base(taken.root, config.base_model.name)]
    return Cost(facts.parameters, {}, 0.0, 0.0, findings)


def _check_tokenizer(tokenizer: ChatTokenizer) -> list[Finding]:
    """Say so where tokens were counted by a file that the stages' own library does not read as it stands."""
    if tokenizer.rebuilt_by_class is None:
        return []
    message = (
        f"tokens are counted by tokenizer.json as it stands; validation makes parts of it by the class "
        f"{tokenizer.rebuilt_by_class}, and may count others. With transformers installed they are the same"
    )
    return [warn("Tokenizer", message)]


def _show(result: ValidateResult, context: StageContext) -> None:
    for finding in result.findings:
        log.info("finding", extra=event("DataFinding", finding=finding.to_dict()))
    context.progress.show(100, result.outcome)
