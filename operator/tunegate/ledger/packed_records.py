"""All records of the ledger in memory, packed: an operator that keeps years of them must not need gigabytes.

They are kept, and not read from the API server for each question, since what was verified once cannot be changed here.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, get_args

from pydantic import ValidationError

from tunegate.api.auditrecord import AuditRecordSpec, EventType
from tunegate.digests import canonical_plain
from tunegate.ledger.tries import SHOWN, Exams, Tries, Try
from tunegate.sketch import Sketch

WINDOW = -12
"""Raw deflate with a window of 4 KiB: a record has about 1 KiB, and what it shares with others stands in ``TYPICAL``."""
UNPACKED = 2048
"""Records that are kept unpacked too, since reconciles ask for the same again."""
TYPICAL = "".join([
    *get_args(EventType), "tunegate-operator", "Approve", "Reject", "ModelRelease", "FineTuneJob", "-0000-4000-8000-",
    '{"actor":"', '@example.org","eventId":"sha256:', '","hash":"sha256:', '","payload":{"adapter":"sha256:',
    '","approval":"', '","content":"sha256:', '","decision":"Approve","deviceHours":"', '","digest":"sha256:',
    '","envelope":"{\\"payload\\":\\"', '\\",\\"payloadType\\":\\"application/vnd.tunegate.ledger-checkpoint+json\\"',
    '","expirationTime":"2026-', 'T00:00:00Z","name":"', '","role":"', '","subjectDigest":"sha256:', '"},"previousHash":"sha256:',
    '","sequence":1', ',"subject":{"kind":"ModelRelease","name":"', '","namespace":"', '","uid":"', '"},"time":"2026-',
    'Z","type":"',
]).encode()  # fmt: skip


class PackedRecords:
    """Records in the order in which they were put there."""

    def __init__(self) -> None:
        self._packed: list[bytes] = []
        self._types: list[str] = []
        self._times: list[str] = []
        self._of_subject: dict[str, array[int]] = {}
        self._of_namespace: dict[tuple[str, str], array[int]] = {}
        self._exams = Exams()
        self._read = lru_cache(maxsize=UNPACKED)(self._unpack)

    def __len__(self) -> int:
        return len(self._packed)

    def add(self, spec: Mapping[str, Any]) -> None:
        """Add the spec of a record. Raises ``ValueError`` for text that UTF-8 cannot hold."""
        packing = zlib.compressobj(3, zlib.DEFLATED, WINDOW, 5, zlib.Z_DEFAULT_STRATEGY, TYPICAL)
        packed = packing.compress(canonical_plain(spec)) + packing.flush()
        place, subject = len(self._packed), spec["subject"]
        self._of_subject.setdefault(subject["uid"], array("I")).append(place)
        self._of_namespace.setdefault((subject["kind"], subject["namespace"]), array("I")).append(place)
        if spec["type"] == "SuiteAsked":
            self._exams.add(spec["payload"], place)
        self._types.append(sys.intern(spec["type"]))
        self._times.append(spec["time"])
        self._packed.append(packed)

    def at(self, place: int) -> AuditRecordSpec:
        """Return the record of a place, from 0. Raises ``IndexError``, ``pydantic.ValidationError``."""
        return self._read(place)

    def of_subject(self, uid: str) -> tuple[AuditRecordSpec, ...]:
        """Return the readable records about the object of that UID."""
        return self._all(self._of_subject.get(uid, ()))

    def of_namespace(
        self, kind: str, namespace: str, types: Collection[str], since: str
    ) -> tuple[AuditRecordSpec, ...]:
        """Return the readable records of some types about objects of a kind, of the time ``since`` or later."""
        places = self._of_namespace.get((kind, namespace), ())
        return self._all([one for one in places if self._types[one] in types and self._times[one] >= since])

    def tries(self, data_digest: str, sketch: Sketch | None) -> Tries:
        """Return the tries on questions of that digest, or of which that sketch shows enough."""
        places = self._exams.places(data_digest, sketch)
        asked = self._all(places[-SHOWN:])
        return Tries(len(places), tuple(Try(one, self._end(one.subject.uid)) for one in asked))

    def _end(self, uid: str) -> AuditRecordSpec | None:
        ends = [place for place in self._of_subject.get(uid, ()) if self._types[place] == "JobFinished"]
        return next(iter(self._all(ends)), None)

    def last_of(self, types: Collection[str]) -> int | None:
        """Return the place of the newest record of one of these types."""
        return next((one for one in range(len(self._types) - 1, -1, -1) if self._types[one] in types), None)

    def _all(self, places: Sequence[int] | array[int]) -> tuple[AuditRecordSpec, ...]:
        found = []
        for place in places:
            try:
                found.append(self._read(place))
            except ValidationError:
                continue
        return tuple(found)

    def _unpack(self, place: int) -> AuditRecordSpec:
        unpacking = zlib.decompressobj(WINDOW, TYPICAL)
        return AuditRecordSpec.model_validate_json(unpacking.decompress(self._packed[place]) + unpacking.flush())
