"""Why a job may never start under the rules of its namespace, server and pool, however long it waited.

These checks come before anything is waited for, and each reads only what is there: the command line asks them of a job that
does not exist yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tunegate.api.reasons import JobReason
from tunegate.api.suite_checks import suite_problems
from tunegate.manifests.sources import RegistryPath
from tunegate.reconcile.finetunejob.addresses import base_source, read_address, sources
from tunegate.reconcile.finetunejob.data_rights import not_cleared, not_stated
from tunegate.reconcile.finetunejob.observed import Observed
from tunegate.release.identity import unknown_requester
from tunegate.release.requesters import refused
from tunegate.release.suites import not_accepted


@dataclass(frozen=True)
class Blocked:
    """Why no attempt may start. ``final``: nothing that happens outside can change it."""

    reason: JobReason
    message: str
    final: bool = False


def refusals(seen: Observed) -> Iterator[Blocked]:
    """Yield everything that refuses the job for good."""
    for check in (_requester, _suite, _data_rights, _limits, _addresses):
        yield from check(seen)


def _requester(seen: Observed) -> Iterator[Blocked]:
    policy, requester = seen.policy, seen.job.spec.requested_by
    if policy is None:
        return
    if wrong := refused(policy.name, policy.spec, requester):
        yield Blocked(JobReason.REQUESTER_UNVERIFIED, f"{wrong}. Then create a new job.", final=True)
    if unknown := unknown_requester(policy.spec.identity, policy.name, requester):
        yield Blocked(JobReason.NOT_ALLOWED, f"{unknown} and create a new job.", final=True)


def _suite(seen: Observed) -> Iterator[Blocked]:
    """The gate's suite decides the release, so a job with another one would train for nothing."""
    policy = seen.policy
    if policy and (wrong := not_accepted(policy.name, policy.spec, seen.job.spec.suite_ref.name)):
        yield Blocked(JobReason.SUITE_NOT_ACCEPTED, f"{wrong}. Then create a new job.", final=True)
    suite = seen.suite
    problems = suite_problems(suite.spec) if suite is not None else []
    # A wrong address is told with those of the other inputs.
    if suite is not None and (told := "; ".join(one for one in problems if not one.startswith("data.uri"))):
        advice = "Ask its owner for another suite, since a suite never changes, and create a new job with that one."
        yield Blocked(
            JobReason.BAD_INPUT, f"EvaluationSuite {suite.name} can judge nothing: {told}. {advice}", final=True
        )


def _data_rights(seen: Observed) -> Iterator[Blocked]:
    for shortfall in (*not_cleared(seen), *not_stated(seen)):
        yield Blocked(JobReason.NOT_ALLOWED, shortfall, final=True)


def _limits(seen: Observed) -> Iterator[Blocked]:
    """What the method asks for, against what pool and server allow."""
    method, pool, server = seen.job.spec.method, seen.pool, seen.server
    if method is None:
        return
    limits: list[tuple[str, int, str, int, str]] = []
    if pool:
        owner = f"ComputePool {pool.name}"
        limits += [
            ("numNodes", method.num_nodes, f"maxNodes of {owner}", pool.spec.max_nodes, "on another pool"),
            (
                "numProcPerNode", method.num_proc_per_node, f"devicesPerNode of {owner}", pool.spec.devices_per_node,
                "on another pool",
            ),
        ]  # fmt: skip
    if server:
        bound = f"profile.maxLoraRank of ModelServer {server.name}"
        limits.append(("rank", method.rank, bound, server.spec.profile.max_lora_rank, "for another server"))
    for field, value, bound, limit, elsewhere in limits:
        if value > limit:
            yield Blocked(
                JobReason.NOT_ALLOWED,
                f"spec.method.{field} is {value}, but {bound} is {limit}. Create a new job with at most {limit}, or "
                f"{elsewhere}.",
                final=True,
            )


def _addresses(seen: Observed) -> Iterator[Blocked]:
    namespace = seen.job.namespace
    for uri, where in [*sources(seen), *base_source(seen)]:
        try:
            path = read_address(uri)
        except ValueError as error:
            yield Blocked(JobReason.BAD_INPUT, f"{where}: {error}. Create a new job with a right address.", final=True)
            continue
        if isinstance(path, RegistryPath) and path.place.namespace != namespace:
            message = (
                f"{where} names data of namespace {path.place.namespace}; a job of {namespace} uses what was pushed there only. "
                f"A steward pushes it again with -n {namespace}."
            )
            yield Blocked(JobReason.NOT_ALLOWED, message, final=True)
