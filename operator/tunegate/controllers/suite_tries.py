"""Reads from the ledger how often a suite's questions were tried."""

from __future__ import annotations

from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.shared import SuiteTries
from tunegate.controllers.services import Ledger
from tunegate.reconcile.suite_tries import counted
from tunegate.sketch import Sketch


async def tries_of(ledger: Ledger, job: FineTuneJob) -> SuiteTries:
    """Return the tries on the questions that the job is judged by, as the job's namespace may know them."""
    digest, sketch = job.status.suite_data_digest, job.status.suite_sketch
    if digest is None:
        return SuiteTries()
    return counted(await ledger.tries(digest, Sketch.read(sketch) if sketch else None), job.namespace)
