"""FineTuneJob: data in, judged adapter out."""

from __future__ import annotations

from typing import ClassVar

from tunegate.api.finetunejob.spec import FineTuneJobSpec
from tunegate.api.finetunejob.status import FineTuneJobStatus
from tunegate.api.markers import Column, Kind, Resource, cel, reason_column, rules


class FineTuneJob(Resource):
    """One try at tuning, from data to verdict."""

    model_config = rules(cel("self.metadata.name.size() <= 40", "metadata.name may have at most 40 characters"))
    KIND: ClassVar[Kind] = Kind(
        "FineTuneJob",
        "finetunejobs",
        ("ftj",),
        "Namespaced",
        (
            Column("Phase", ".status.phase"),
            reason_column("Complete"),
            Column("Progress", ".status.progress.percent", "integer"),
            Column("Gate", ".status.gate.outcome"),
            Column("Score", ".status.gate.tuned"),
            Column("Server", ".spec.serverRef.name", wide=True),
            Column("Estimated Hours", ".status.estimates.deviceHours", wide=True),
            Column("Hours", ".status.deviceHours", wide=True),
            Column("Message", ".status.message", wide=True),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )

    spec: FineTuneJobSpec
    status: FineTuneJobStatus = FineTuneJobStatus()
