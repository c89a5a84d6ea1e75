"""ApprovalPolicy: who must agree before a release is served, and what a release must show."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tunegate.api.datachecks import ALWAYS_BLOCKING, CheckSettings, DataCheck
from tunegate.api.markers import (
    LIST_ATOMIC,
    LIST_SET,
    ApiModel,
    Column,
    DataClass,
    Digest,
    Kind,
    Names,
    Resource,
    ResourceName,
    cel,
    list_map,
    reason_column,
    rules,
)
from tunegate.api.numbers import Amount, Fraction
from tunegate.api.shared import NamedRef, StatusBase

WaivableFinding = Literal[DataCheck, "MinimumExamples", "MinimumPerClass", "Budget", "Knowledge"]
"""Blocking findings of validation that people may answer for. The others say that the job cannot run, or cannot be judged."""
PUBLIC_KEY = r"^-----BEGIN PUBLIC KEY-----\n[A-Za-z0-9+/=\n]{40,190}\n-----END PUBLIC KEY-----\n?$"
DEFAULT_CLOSE_AFTER_SECONDS = 60
"""For how long a gateway trusts routes that it cannot read again, where the policy says nothing else."""
_ALWAYS_BLOCKING = f"{', '.join(ALWAYS_BLOCKING[:-1])} and {ALWAYS_BLOCKING[-1]}"


class Signer(ApiModel):
    """A key, and whose it is."""

    username: Annotated[str, Field(max_length=256, min_length=1)]
    """The approver's user name. Somebody may have several keys, e.g. a spare token."""
    public_key: Annotated[str, Field(max_length=256, pattern=PUBLIC_KEY)]
    """ECDSA P-256 or Ed25519, in PEM form, as `openssl pkey -pubout` writes it."""


class ApprovalRole(ApiModel):
    """A hat that reviewers wear; one person fills at most one slot of one role."""

    name: ResourceName
    min_approvals: Annotated[int, Field(ge=1, le=5)] = 1
    groups: Annotated[
        list[Annotated[str, Field(max_length=256)]], Field(min_length=1, max_length=16, json_schema_extra=LIST_SET)
    ]
    """An approver must be in one of these groups as well as hold the RBAC verb."""
    signers: Annotated[list[Signer], Field(min_length=1, max_length=32, json_schema_extra=LIST_ATOMIC)] | None = None
    """Present: an approval for this role counts only when its author signed it with one of their keys here."""


class WaiverRule(ApprovalRole):
    """A role whose holders may let a job go on although validation found what `findings` lists."""

    model_config = rules(
        cel(
            f"self.findings.all(f, !(f in {list(ALWAYS_BLOCKING)!r}))",
            f"waivers[].findings: {_ALWAYS_BLOCKING} cannot be waived, since training refuses such rows: leave them out",
        ),
    )

    findings: Annotated[list[WaivableFinding], Field(min_length=1, max_length=32, json_schema_extra=LIST_SET)]
    """A finding that several roles list needs all of them; one that no role lists ends the job."""


class BreakGlass(ApiModel):
    """Who may have a release served for a time although its quorum is missing; they need the RBAC verb `override`."""

    role: ResourceName
    min_approvals: Annotated[int, Field(ge=1, le=5)] = 1
    """How many different people have to override."""
    groups: Annotated[
        list[Annotated[str, Field(max_length=256)]], Field(min_length=1, max_length=16, json_schema_extra=LIST_SET)
    ]
    """Whoever overrides must be in one of these groups as well as hold the RBAC verb."""
    max_seconds: Annotated[int, Field(ge=60, le=604_800)]
    """For how long at most; then the release is closed unless its quorum was reached meanwhile."""
    signers: Annotated[list[Signer], Field(min_length=1, max_length=32, json_schema_extra=LIST_ATOMIC)] | None = None
    """Present: an override counts only when its author signed it with one of their keys here."""

    @property
    def asked(self) -> ApprovalRole:
        """What an override is counted for, as an approval is for a role."""
        return ApprovalRole(name=self.role, min_approvals=self.min_approvals, groups=self.groups, signers=self.signers)


class NamespaceBudget(ApiModel):
    """What all trainings of one namespace may take in a period of the calendar, in UTC: `maxDeviceHours`, or `maxCost` together
    with `currency`, or all three."""

    model_config = rules(
        any_of=[
            {"required": ["maxCost", "currency"]},
            {
                "required": ["maxDeviceHours"],
                "not": {"anyOf": [{"required": ["maxCost"]}, {"required": ["currency"]}]},
            },
        ]
    )

    period: Literal["Month", "Quarter"]
    max_device_hours: Amount | None = None
    max_cost: Amount | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$", max_length=3)] | None = None
    """Of `maxCost`: pools that are priced in another one can't be trained on."""


class IdentityRule(ApiModel):
    """What must be known of the people who ask and approve, beside their accounts."""

    require_person_id: bool = False
    """Approvals without a person-id do not count, nor does any approval of what somebody without one asked for: two
    accounts may be one person."""
    max_auth_age_seconds: Annotated[int, Field(ge=60, le=2_592_000)] | None = None
    """Longest time between signing in and approving; absent: any."""


class ServingRule(ApiModel):
    """How serving pods under this policy close what may not answer any more."""

    close_after_seconds: Annotated[int, Field(ge=10, le=3600)] = DEFAULT_CLOSE_AFTER_SECONDS
    """A gateway that could not read its routes for so long answers nothing but the base model until it can read them
    again: a release that was revoked meanwhile is closed, whoever keeps the gateway from hearing of it."""


DataRight = Literal["Steward", "Retention", "SpdxLicense"]


class ApprovalPolicySpec(ApiModel):
    """The rules of a namespace. A release freezes the whole content, so loosening it later helps no open release."""

    model_config = rules(
        cel(
            "self.roles.all(r, r.groups.all(g, !g.startsWith('system:')))",
            "roles[].groups may not name groups that start with 'system:'",
        ),
        cel(
            "self.waivers.all(r, r.groups.all(g, !g.startsWith('system:')))",
            "waivers[].groups may not name groups that start with 'system:'",
        ),
        cel(
            "!has(self.breakGlass) || self.breakGlass.groups.all(g, !g.startsWith('system:'))",
            "breakGlass.groups may not name groups that start with 'system:'",
        ),
        cel(
            f"self.dataChecks.all(c, !(c.name in {list(ALWAYS_BLOCKING)!r}))",
            f"dataChecks: {_ALWAYS_BLOCKING} always block, since training refuses such rows: leave them out",
        ),
    )

    roles: Annotated[list[ApprovalRole], Field(min_length=1, max_length=8, json_schema_extra=list_map("name"))]
    max_approval_age_seconds: Annotated[int, Field(ge=60, le=31_536_000)] = 604_800
    """Longest life of an approval; it stops counting after this time, whatever its `expirationTime` says."""
    identity: IdentityRule | None = None
    """What the cluster's identity provider has to say of people; absent: user name, uid and groups are enough."""
    break_glass: BreakGlass | None = None
    """Absent: nobody can have a release served without its quorum."""
    unverified_requester: Literal["Deny", "ExtraApproval"] = "Deny"
    """What happens to jobs and releases that a GitOps tool made, so that nobody knows which person asked. `Deny`: they are
    refused. `ExtraApproval`: each role needs one approval more, since one of its reviewers may be the person who asked."""
    min_margin: Fraction = "0.05"
    """Smallest margin a suite may ask for; a smaller one in the suite is raised to this."""
    allowed_data: Annotated[list[DataClass], Field(min_length=1, max_length=5, json_schema_extra=LIST_SET)]
    """Classes of data that jobs of the namespace may use."""
    required_rights: Annotated[list[DataRight], Field(max_length=3, json_schema_extra=LIST_SET)] = []
    """What a job has to state of its data beside source, license and class: its steward, the last day on which it may be
    used, a license as an SPDX expression. A job that does not is refused."""
    data_checks: CheckSettings = []
    """What checks of training data do in the namespace, where it is not the default; jobs can only make them stricter."""
    waivers: Annotated[list[WaiverRule], Field(max_length=8, json_schema_extra=list_map("name"))] = []
    """Who may let a job go on in spite of which findings of validation; empty: nobody, the job fails."""
    budget: NamespaceBudget | None = None
    """For each namespace under this policy; a training that exceeds what is left waits for the next period."""
    serving: ServingRule | None = None
    """How gateways close routes when they hear nothing of the operator's decisions; absent: after 60 seconds."""
    required_suite_refs: Annotated[list[NamedRef], Field(max_length=8, json_schema_extra=list_map("name"))] = []
    """A release needs a passed gate of one of these suites; empty: any suite of the namespace."""

    @property
    def close_after_seconds(self) -> int:
        """For how long gateways trust routes that they cannot read again."""
        return self.serving.close_after_seconds if self.serving else DEFAULT_CLOSE_AFTER_SECONDS


class ApprovalPolicyStatus(StatusBase):
    """The digest that releases freeze, and what people read."""

    digest: Digest | None = None
    quorum: Annotated[str, Field(max_length=1024)] = ""
    """How many approvals of which roles: "2 x compliance, 1 x model-risk"."""


class ApprovalPolicy(Resource):
    """Approval rules, chosen by the platform for a namespace and never by a requester."""

    KIND: ClassVar[Kind] = Kind(
        "ApprovalPolicy",
        "approvalpolicies",
        ("apol",),
        "Cluster",
        (
            Column("Quorum", ".status.quorum"),
            reason_column("Ready"),
            Column("Margin", ".spec.minMargin"),
            Column("Digest", ".status.digest", wide=True),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
        Names("stands in release statements and in the chart's values"),
    )

    spec: ApprovalPolicySpec
    status: ApprovalPolicyStatus = ApprovalPolicyStatus()
