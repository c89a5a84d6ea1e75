"""Documents that travel with the adapter beside its signatures: for people and tools that never see our cluster.

The ledger holds their digests, so its signed checkpoints cover them. Of the evaluation all but the questions of the gate:
whoever may pull an adapter may read what lies beside it.
"""

from __future__ import annotations

from tunegate.api.stage.layout import DATA_STATEMENT_MEDIA_TYPE
from tunegate.api.stage.results import without_questions
from tunegate.evidence import layout
from tunegate.evidence.bom import bill_of_materials
from tunegate.evidence.card import model_card
from tunegate.evidence.index import pretty
from tunegate.evidence.layout import Files
from tunegate.evidence.referrer import Referrer, referrer, subject
from tunegate.evidence.story import Subject

BOM_TYPE = "application/vnd.cyclonedx+json"
CARD_TYPE = "application/vnd.tunegate.model-card.v1+markdown"
EVALUATION_TYPE = "application/vnd.tunegate.evaluation.v1+json"


def attached(about: Subject, files: Files) -> tuple[Referrer, ...]:
    """Return the documents as referrers of the adapter; ``files`` are the sources."""
    adapter = subject(files[layout.ADAPTER])
    named = (
        ("mlbom", pretty(bill_of_materials(about)), BOM_TYPE),
        ("modelCard", model_card(about).encode(), CARD_TYPE),
        ("evaluation", pretty(without_questions(about.evaluation)), EVALUATION_TYPE),
        ("dataStatement", files[layout.DATA], DATA_STATEMENT_MEDIA_TYPE),
    )
    return tuple(referrer(name, content, type_, adapter) for name, content, type_ in named)
