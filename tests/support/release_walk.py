"""A release on its way: its world, and one step of planner, ledger and status at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.support import builders, release_evidence
from tunegate.admission.rules import Window
from tunegate.api.approval import Approval
from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.auditrecord import AuditRecordSpec
from tunegate.api.basemodel import BaseModel
from tunegate.api.conditions import Condition, find
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.modelserver import ModelServer
from tunegate.api.shared import SuiteTries
from tunegate.api.stage.results import EvaluateResult
from tunegate.ledger import chain
from tunegate.reconcile.approvals import names, votes
from tunegate.reconcile.modelrelease import questions
from tunegate.reconcile.modelrelease.ledger_entries import Frozen, last
from tunegate.reconcile.modelrelease.planner import Observed, plan
from tunegate.reconcile.plan import Plan
from tunegate.release.counting import count
from tunegate.release.evidence import Shortfall, assess
from tunegate.release.statement import Evidence, Policy, build, differences

NOW = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
OPERATOR_IMAGE = "registry.example/tunegate/operator@sha256:" + "6" * 64
Json = dict[str, Any]


class Walk:
    """A release and its world; ``step`` does what a controller and a worker would do once."""

    def __init__(self) -> None:
        self.world = release_evidence.catalogue()
        self.job = release_evidence.finished_job(self.world, release_evidence.digest("f"))
        self.release = release_evidence.with_metadata(release_evidence.release_of(self.job))
        self.result = release_evidence.evaluation(self.world)
        self.approvals: list[Json] = []
        self.unauthorized: set[str] = set()
        self.server_allowed = True
        self.tries = SuiteTries(total=2)
        self.records: list[AuditRecordSpec] = []
        self.stored: Frozen | None = None
        self.ledger_works = True
        self.windows: tuple[Window, ...] = ()
        self.now = NOW

    def live(self) -> Evidence:
        policy = ApprovalPolicy.model_validate(
            release_evidence.with_metadata(self.world["ApprovalPolicy"], uid="policy-uid")
        )
        return Evidence(
            cluster="cluster-1",
            operator_image=OPERATOR_IMAGE,
            release=ModelRelease.model_validate(self.release),
            job=FineTuneJob.model_validate(self.job) if self.job else None,
            server=ModelServer.model_validate(self.world["ModelServer"]),
            base=BaseModel.model_validate(self.world["BaseModel"]),
            suite=EvaluationSuite.model_validate(self.world["EvaluationSuite"]),
            policy=Policy(policy.name, policy.uid, policy.spec),
            server_allowed=self.server_allowed,
            evaluation=EvaluateResult.model_validate(self.result),
            tries=self.tries,
        )

    def observe(self) -> Observed:
        live = self.live()
        shortfall = None
        requested = last(self.records, "ReleaseRequested") is not None
        if not requested:
            found = assess(live)
            if isinstance(found, Shortfall):
                shortfall = found
            else:
                statement = build(found)
                self.stored = Frozen(
                    statement, statement.digest, "team/release/statement", release_evidence.digest("9")
                )
        frozen = None if shortfall else self.stored
        made = [Approval.model_validate(one) for one in self.approvals]
        approvals = tuple(one for one in made if names(one, live.release))
        question = questions.question(live.release, frozen if requested else None, None)
        overriding = questions.override_question(live.release, frozen if requested else None)
        backed = frozenset(one.uid for one in approvals if one.spec.approver.username not in self.unauthorized)
        cast = votes(approvals, question.roles, backed, self.windows)
        overrides = questions.overrides(votes(approvals, overriding.roles, backed, self.windows))
        return Observed(
            release=live.release,
            approvals=approvals,
            verdict=count(question, cast, self.now),
            overrides=count(overriding, overrides, self.now),
            records=tuple(self.records),
            frozen=frozen,
            shortfall=shortfall,
            changed=differences(frozen.statement, live) if frozen else (),
            unguarded=questions.made_unguarded(live.release, live.job, self.windows),
            server=live.server,
        )

    def step(self) -> Plan:
        made = plan(self.observe(), self.now)
        if made.audit and not self.ledger_works:
            return made
        for entry in made.audit:
            assert entry.event_id not in {record.event_id for record in self.records}
            self.records.append(chain.next_record(entry, self.records[-1] if self.records else None, self.now))
        self.release["status"] = dict(made.status or {})
        return made

    def settle(self) -> str:
        """Step until nothing more is planned; return the phase."""
        for _ in range(10):
            made = self.step()
            if not made.audit and made.requeue_after not in (0.1,):
                return self.phase
        raise AssertionError(f"does not settle: {made}")

    def decide(self, who: str, name: str = "", **changes: Any) -> None:
        self.approvals.append(
            release_evidence.with_metadata(release_evidence.decision(self.release, who, name, **changes))
        )

    def approve(self) -> None:
        self.settle()
        self.decide("ravi")
        self.decide("cora")
        assert self.settle() == "Approved"

    def serve(self, state: str = "Ready", route: str | None = "extractor") -> None:
        served = self.release["status"]["servedName"]
        adapter = {
            "releaseRef": {"name": "release"},
            "servedName": served,
            "adapterDigest": release_evidence.digest("a"),
            "state": state,
            "reason": "bad bytes",
        }
        routes = [builders.open_route(route, served)] if route else []
        self.world["ModelServer"]["status"] = {"adapters": [adapter], "routes": routes}

    @property
    def phase(self) -> str:
        return str(self.release["status"]["phase"])

    @property
    def types(self) -> list[str]:
        return [record.type for record in self.records]

    def condition(self, type_: str) -> Condition:
        found = find(ModelRelease.model_validate(self.release).status.conditions, type_)
        assert found is not None, self.release["status"]
        return found

    def dropped(self) -> dict[str, str]:
        return {one["username"]: one["reason"] for one in self.release["status"].get("dropped", [])}
