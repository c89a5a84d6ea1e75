"""FineTuneJob: data in, judged adapter out."""

from __future__ import annotations

from typing import ClassVar

from tunegate.api.finetunejob.spec import FineTuneJobSpec
from tunegate.api.finetunejob.status import FineTuneJobStatus
from tunegate.api.markers import Column, Kind, Names, Resource, reason_column


class FineTuneJob(Resource):
    """One try at tuning, from data to verdict."""

    KIND: ClassVar[Kind] = Kind(
        "FineTuneJob",
        "finetunejobs",
        ("ftj",),
        "Namespaced",
        (
            Column("Phase", ".status.phase"),
            reason_column("Complete"),
            Column("Percent", ".status.progress.percent", "integer"),
            Column("Gate", ".status.gate.outcome"),
            Column("Score", ".status.gate.tuned"),
            Column("Server", ".spec.serverRef.name", wide=True),
            Column("Estimated Hours", ".status.estimates.deviceHours", wide=True),
            Column("Hours", ".status.deviceHours", wide=True),
            Column("Message", ".status.message", wide=True),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
        Names("is part of the names of Jobs, Services, claims and registry repositories", letter_first=True),
        selectable=(".status.phase",),
    )

    spec: FineTuneJobSpec
    status: FineTuneJobStatus = FineTuneJobStatus()
