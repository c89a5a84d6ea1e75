"""Presidio's recognizers without its engines.

The package's own `__init__` imports spaCy and, where they are installed, torch and transformers for language models that
are not asked here: 700 MiB and five seconds in every process, and spaCy is 150 MB on a laptop. The recognizers themselves
need none of it, so their modules are imported by name, in packages whose `__init__` does not run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = "presidio_analyzer"
KINDS = f"{PACKAGE}.predefined_recognizers"
PARTS = {
    "analysis_explanation": "AnalysisExplanation",
    "recognizer_result": "RecognizerResult",
    "entity_recognizer": "EntityRecognizer",
    "local_recognizer": "LocalRecognizer",
    "pattern": "Pattern",
    "pattern_recognizer": "PatternRecognizer",
}
"""What a recognizer is made of, in the order in which one needs another: module to class."""
COUNTRIES = f"{KINDS}.country_specific"
MODULES = {
    "CreditCardRecognizer": f"{KINDS}.generic.credit_card_recognizer",
    "IbanRecognizer": f"{KINDS}.generic.iban_recognizer",
    "IpRecognizer": f"{KINDS}.generic.ip_recognizer",
    "PhoneRecognizer": f"{KINDS}.generic.phone_recognizer",
    "UsSsnRecognizer": f"{COUNTRIES}.us.us_ssn_recognizer",
    "UsMbiRecognizer": f"{COUNTRIES}.us.us_mbi_recognizer",
    "MedicalLicenseRecognizer": f"{COUNTRIES}.us.medical_license_recognizer",
    "UkNinoRecognizer": f"{COUNTRIES}.uk.uk_nino_recognizer",
    "NhsRecognizer": f"{COUNTRIES}.uk.uk_nhs_recognizer",
    "DeTaxIdRecognizer": f"{COUNTRIES}.germany.de_tax_id_recognizer",
    "EsNifRecognizer": f"{COUNTRIES}.spain.es_nif_recognizer",
    "ItFiscalCodeRecognizer": f"{COUNTRIES}.italy.it_fiscal_code_recognizer",
    "PlPeselRecognizer": f"{COUNTRIES}.poland.pl_pesel_recognizer",
    "InAadhaarRecognizer": f"{COUNTRIES}.india.in_aadhaar_recognizer",
}


@cache
def recognizer_classes() -> dict[str, Any]:
    """Return the classes of ``MODULES`` by name. Raises ``ModuleNotFoundError`` where presidio is not installed."""
    with _bare_packages() as package:
        for module, name in PARTS.items():
            setattr(package, name, getattr(import_module(f"{PACKAGE}.{module}"), name))
        return {name: getattr(import_module(module), name) for name, module in MODULES.items()}


@contextmanager
def _bare_packages() -> Iterator[ModuleType]:
    """Put packages without content in place of presidio's, and take them and their modules away again.

    Whoever imports presidio itself, before or after, gets the whole package.
    """
    kept = _imported()
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"No module named {PACKAGE!r}", name=PACKAGE)
    root = Path(next(iter(spec.submodule_search_locations))).parent
    for name in kept:
        del sys.modules[name]
    for name in {parent for module in MODULES.values() for parent in _with_parents(module.rpartition(".")[0])}:
        bare = ModuleType(name)
        bare.__path__ = [str(root.joinpath(*name.split(".")))]
        sys.modules[name] = bare
    # Two recognizers name its type in a signature and never use it.
    engines = ModuleType(f"{PACKAGE}.nlp_engine")
    engines.NlpArtifacts = object  # type: ignore[attr-defined]
    sys.modules[engines.__name__] = engines
    try:
        yield sys.modules[PACKAGE]
    finally:
        for name in _imported():
            del sys.modules[name]
        sys.modules.update(kept)


def _imported() -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] == PACKAGE}


def _with_parents(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.rpartition(".")[0]
