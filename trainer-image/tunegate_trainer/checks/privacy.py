"""Personal data, health identifiers and secrets in the text of a row. Says which kinds, never where nor what.

Recognizers are presidio's and detect-secrets', used one by one: their engines load a language model and guess by the
words around, which costs a hundred times as much. What has a checksum must satisfy it; numbers without a shape of their
own must also have a word beside them that says what they are. It does not see names, postal addresses or dates of birth.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

from tunegate.api.datachecks import DataCheck
from tunegate_trainer.checks.emails import email_spans
from tunegate_trainer.checks.presidio import recognizer_classes

_MARKED = re.compile(r"[\d@:](?:[^\d@:]{0,4}[\d@:])*+")
"""Signs of which every quick look needs one, and what lies between those that are near each other."""
_AROUND = 8
"""Characters before and after it that a quick look may need."""
NEAR = 60
"""Characters before and after a number in which a word must say what it is."""
SECONDS = 10
"""A presidio pattern that takes longer for one text gives up."""
GAVE_UP = " perhaps, the search took too long"
"""End of a kind of which only that is known."""
Spans = Callable[[str], Iterable[tuple[int, int]]]
"""From a text to begin and end of what was recognized in it."""


class GaveUp(Exception):
    """A search that took too long: nothing is known of the text."""


@dataclass(frozen=True)
class Recognizer:
    """One kind of thing: a quick look that rules most texts out, and the recognizer that decides."""

    check: DataCheck
    kind: str
    quick: re.Pattern[str]
    spans: Spans
    words: re.Pattern[str] | None
    """One of these must stand near; None: the shape and checksum suffice."""

    def matches(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield begin and end of every such thing in the text. Raises ``GaveUp``."""
        for start, end in self.spans(text) if self.quick.search(text) else ():
            if self.words is None or self._named(text, start, end):
                yield start, end

    def _named(self, text: str, start: int, end: int) -> bool:
        return bool(
            self.words
            and (self.words.search(text, max(0, start - NEAR), start) or self.words.search(text, end, end + NEAR))
        )


class _Overheard(logging.Filter):
    """Drops what presidio logs, which may quote what it matched, and remembers that a search gave up: it says so there only."""

    gave_up = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Drop every record."""
        self.gave_up |= record.exc_info is not None and isinstance(record.exc_info[1], TimeoutError)
        return False


_overheard = _Overheard()


def presidio_spans(recognizer: Any) -> Spans:
    """Return the search of a presidio recognizer, which raises ``GaveUp`` where presidio passes over a pattern after a while."""
    logging.getLogger("presidio-analyzer").addFilter(_overheard)

    def spans(text: str) -> list[tuple[int, int]]:
        _overheard.gave_up = False
        found = [(result.start, result.end) for result in recognizer.analyze(text, recognizer.supported_entities, None)]
        if _overheard.gave_up:
            raise GaveUp
        return found

    return spans


@cache
def recognizers() -> tuple[Recognizer, ...]:
    """Return all recognizers of personal and health data."""
    os.environ.setdefault("REGEX_TIMEOUT_SECONDS", str(SECONDS))  # read when presidio is imported
    presidio = SimpleNamespace(**recognizer_classes())

    # Patterns that begin with a sign of few: the search runs from one to the next and tries nothing between them.
    digits = r"\d(?:[ ().\-/]{0,3}\d){6}"
    shapes: list[tuple[DataCheck, str, str, Any, bool]] = [
        ("PersonalData", "card number", digits, presidio.CreditCardRecognizer(), False),
        ("PersonalData", "IBAN", r"\d(?<=\b[A-Z]{2}\d)\d", presidio.IbanRecognizer(), False),
        (
            "PersonalData",
            "IP address",
            r"\.(?<=\d\.)\d{1,3}\.\d{1,3}\.\d|:(?<=[0-9a-fA-F]:)[0-9a-fA-F]{1,4}:",
            presidio.IpRecognizer(),
            False,
        ),
        ("PersonalData", "US social security number", digits, presidio.UsSsnRecognizer(), True),
        (
            "PersonalData",
            "UK national insurance number",
            r"\d(?:(?<=\b[A-Za-z]{2}\d)|(?<=\b[A-Za-z]{2} \d))\d",
            presidio.UkNinoRecognizer(),
            True,
        ),
        ("PersonalData", "German tax number", digits, presidio.DeTaxIdRecognizer(), True),
        ("PersonalData", "Spanish identity number", r"\d\d{6}", presidio.EsNifRecognizer(), True),
        (
            "PersonalData",
            "Italian tax code",
            r"\d(?<=[A-Za-z]{6}\d)\d[A-Za-z]\d\d",
            presidio.ItFiscalCodeRecognizer(),
            False,
        ),
        ("PersonalData", "Polish identity number", r"\d\d{10}", presidio.PlPeselRecognizer(), True),
        ("PersonalData", "Indian identity number", digits, presidio.InAadhaarRecognizer(), True),
        ("HealthData", "UK patient number", digits, presidio.NhsRecognizer(), True),
        ("HealthData", "US Medicare number", r"[1-9](?<=\b[1-9])[A-Za-z]", presidio.UsMbiRecognizer(), True),
        (
            "HealthData",
            "US medical license",
            r"\d(?<=\b[A-Za-z]{2}\d)\d{6}\b",
            presidio.MedicalLicenseRecognizer(),
            True,
        ),
    ]
    return (
        Recognizer("PersonalData", "e-mail address", re.compile("@"), email_spans, None),
        Recognizer("PersonalData", "phone number", re.compile(digits), phone_spans, None),
        *(
            Recognizer(
                check, kind, re.compile(quick), presidio_spans(recognizer),
                _any_of(recognizer.context) if needs_word else None,
            )
            for check, kind, quick, recognizer, needs_word in shapes
        ),
    )  # fmt: skip


def phone_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield begin and end of every phone number, for each of presidio's regions that has such numbers.

    Not by presidio's own recognizer, which tries all regions before it says anything.
    """
    from phonenumbers import Leniency, PhoneNumberMatcher

    for region in recognizer_classes()["PhoneRecognizer"].DEFAULT_SUPPORTED_REGIONS:
        for match in PhoneNumberMatcher(text, region, leniency=Leniency.VALID):
            yield match.start, match.end


def _any_of(context: list[str]) -> re.Pattern[str]:
    return re.compile(r"(?i)\b(?:" + "|".join(re.escape(word.strip()) for word in context) + r")\b")


NAMED_SECRETS = (
    "aws", "azure_storage_key", "basic_auth", "cloudant", "discord", "github_token", "gitlab_token", "ibm_cloud_iam",
    "ibm_cos_hmac", "mailchimp", "openai", "private_key", "pypi_token", "sendgrid", "slack", "softlayer",
    "square_oauth", "stripe", "telegram_token", "twilio",
)  # fmt: skip
"""Modules of detect-secrets. Left out: what flags prose (entropy, keywords, Artifactory, whose pattern fits APACHELICENSE),
and two whose patterns take a time that grows with the square of the text: they are among ``MORE_SECRETS``."""
SECRET_AT_ALL = re.compile(r"[A-Za-z0-9_+/=-]{20}|PRIVATE KEY|PuTTY-User-Key|://[^\s@/]*:")
"""What every pattern needs: a run of twenty characters that are no prose, or one of the marks of the others."""
MORE_SECRETS = {
    "JSON Web Token": r"(?<![\w-])eyJ[\w-]++={0,2}\.[\w-]",
    "NPM tokens": r"/:_authToken=\s*+(?:npm_\w|[A-Fa-f0-9-]{36})",
    "Hugging Face token": r"\bhf_[A-Za-z0-9]{34,}",
    "GitHub fine-grained token": r"\bgithub_pat_[A-Za-z0-9_]{60,}",
    "Google API key": r"\bAIza[0-9A-Za-z_-]{35}",
    "OpenAI or Anthropic key": r"\bsk-(?:ant|proj|svcacct)-[A-Za-z0-9_-]{32,}",
}


@cache
def secret_patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Return kind and pattern of every secret that is looked for."""
    from importlib import import_module

    found: list[tuple[str, re.Pattern[str]]] = []
    for name in NAMED_SECRETS:
        module = import_module(f"detect_secrets.plugins.{name}")
        for value in vars(module).values():
            if isinstance(value, type) and value.__module__ == module.__name__:
                found += [(str(value.secret_type), pattern) for pattern in value().denylist]  # type: ignore[attr-defined]
    return (*found, *((kind, re.compile(pattern)) for kind, pattern in MORE_SECRETS.items()))


def worth_a_look(text: str) -> str:
    """Return the parts of a text in which a quick look could find something: of most texts little, read once for all looks."""
    return "\n".join(text[max(0, part.start() - _AROUND) : part.end() + _AROUND] for part in _MARKED.finditer(text))


def find(text: str) -> Iterator[tuple[DataCheck, str]]:
    """Yield check and kind of everything that the text holds, each kind once."""
    parts = worth_a_look(text)
    looked: dict[re.Pattern[str], bool] = {}
    for recognizer in recognizers() if parts else ():
        # Several have the same quick look.
        if recognizer.quick not in looked:
            looked[recognizer.quick] = recognizer.quick.search(parts) is not None
        if not looked[recognizer.quick]:
            continue
        try:
            if any(True for _ in recognizer.matches(text)):
                yield recognizer.check, recognizer.kind
        except GaveUp:
            yield recognizer.check, recognizer.kind + GAVE_UP
    seen: set[str] = set()
    for kind, pattern in secret_patterns() if SECRET_AT_ALL.search(text) else ():
        if kind not in seen and pattern.search(text):
            seen.add(kind)
            yield "Secrets", kind
