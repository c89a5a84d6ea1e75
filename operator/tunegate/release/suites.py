"""Which suites a policy accepts. Jobs are refused by it before they train, and releases before people decide."""

from __future__ import annotations

from tunegate.api.approvalpolicy import ApprovalPolicySpec


def not_accepted(policy: str, spec: ApprovalPolicySpec, suite: str) -> str | None:
    """Return why a gate of this suite is not enough under the policy, and what to do; None: it is."""
    accepted = [ref.name for ref in spec.required_suite_refs]
    if not accepted or suite in accepted:
        return None
    return (
        f"ApprovalPolicy {policy} does not accept EvaluationSuite {suite}; it accepts {', '.join(accepted)}. Use one of "
        f"these, or ask the policy's owner to add {suite} to requiredSuiteRefs"
    )
