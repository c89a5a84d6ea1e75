"""What a first job can name in the cluster, as far as this person may read it: server, pool, base model, policy, suite, claim."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass, field
from typing import TypeVar

from tunegate.api.approvalpolicy import ApprovalPolicy
from tunegate.api.basemodel import BaseModel
from tunegate.api.computepool import ComputePool
from tunegate.api.evaluationsuite import EvaluationSuite
from tunegate.api.markers import Resource
from tunegate.api.modelserver import ModelServer
from tunegate.cli.cluster import Cluster, readable
from tunegate.cli.failure import WrongUsage
from tunegate.cli.nearest import did_you_mean
from tunegate.reconcile.naming import USABLE_BY_JOBS_LABEL

T = TypeVar("T", bound=Resource)


@dataclass
class Site:
    """What was chosen; None: nothing, or nothing that could be read."""

    namespace: str | None = None
    server: ModelServer | None = None
    pool: ComputePool | None = None
    base: BaseModel | None = None
    policy: ApprovalPolicy | None = None
    suite: EvaluationSuite | None = None
    claim: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        """Classes of data that policy, base model and pool allow."""
        lists = [self.policy.spec.allowed_data] if self.policy else []
        lists += [self.base.spec.cleared_for] if self.base else []
        lists += [self.pool.spec.cleared_for] if self.pool else []
        return [one for one in lists[0] if all(one in each for each in lists)] if lists else []


def read_site(cluster: Cluster, options: Namespace) -> Site:
    """Choose by the options, or what is the only one. Raises ``WrongUsage`` for a name that does not exist, with the nearest."""
    namespace = str(options.namespace or cluster.namespace)
    site = Site(namespace)
    site.server = _chosen(cluster, site, ModelServer, options.server, namespace, "--server")
    if site.server:
        site.base = readable(cluster.get, BaseModel, site.server.spec.base_model_ref.name)
    pool = options.pool or (site.server and site.server.spec.pool_ref.name)
    site.pool = _chosen(cluster, site, ComputePool, pool, "", "--pool") if pool else None
    site.policy = _chosen(cluster, site, ApprovalPolicy, options.policy, "", "--policy")
    if options.suite:
        site.suite = _chosen(cluster, site, EvaluationSuite, options.suite, namespace, "--suite")
    accepted = [ref.name for ref in site.policy.spec.required_suite_refs] if site.policy else []
    own = options.suite or options.name
    if site.policy and accepted and own not in accepted:
        site.notes.append(
            f"ApprovalPolicy {site.policy.name} accepts the suites {', '.join(accepted)} only: give --suite with one of these, or ask "
            f"the policy's owner to add {own} to requiredSuiteRefs"
        )
    site.claim = _claim(cluster, namespace)
    return site


def _chosen(cluster: Cluster, site: Site, model: type[T], name: str | None, namespace: str, option: str) -> T | None:
    kind = model.KIND.kind
    there: list[T] | None = readable(cluster.all, model, namespace)
    if there is None:
        site.notes.append(f"you may not list {model.KIND.plural}, so none was looked at")
        return None
    found = [one for one in there if one.name == name] if name else there
    if name and not found:
        where = f" in namespace {namespace}" if namespace else ""
        raise WrongUsage(
            f"{option} {name}: there is no such {kind}{where}.{did_you_mean(name, [one.name for one in there])}"
        )
    if len(found) == 1:
        return found[0]
    names = ", ".join(one.name for one in there)
    site.notes.append(
        f"there are several {model.KIND.plural} ({names}): choose with {option}" if found else f"there is no {kind}"
    )
    return None


def _claim(cluster: Cluster, namespace: str) -> str | None:
    """Return the only claim of the namespace that is open for jobs."""
    path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
    found = readable(cluster.listed, path, f"{USABLE_BY_JOBS_LABEL}=true") or []
    return str(found[0]["metadata"]["name"]) if len(found) == 1 else None
