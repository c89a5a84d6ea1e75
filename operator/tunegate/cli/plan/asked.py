"""A job as this person would ask the cluster for it: whether the API server would take it, and what would happen then."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.cli import screen
from tunegate.cli.cluster import Cluster, Json
from tunegate.cli.failure import AlreadyExists, CommandFailure, Forbidden
from tunegate.cli.job_obstacles import views, without_routes
from tunegate.cli.whoami import requester
from tunegate.reconcile.finetunejob.observed import Observed


@dataclass(frozen=True)
class Asked:
    """The job with its requester and namespace."""

    cluster: Cluster
    document: Json
    job: FineTuneJob

    @staticmethod
    def of(cluster: Cluster, document: Any, job: FineTuneJob, namespace: str) -> Asked:
        """Fill in what `create job` fills in."""
        metadata = {**document["metadata"], "namespace": namespace}
        spec = {**document["spec"]}
        spec.setdefault("requestedBy", requester(cluster))
        made = FineTuneJob.model_validate(
            {**document, "metadata": {**job.metadata, "namespace": namespace}, "spec": spec}
        )
        return Asked(cluster, {**document, "metadata": metadata, "spec": spec}, made)

    def warn(self, seen: Observed) -> bool:
        """Print what would keep the job waiting, and return whether there is any. Raises ``CommandFailure`` for what refuses it."""
        warnings = self._admission()
        policies = [seen.policy] if seen.policy else None
        found = views(self.cluster, self.job, policies=policies).told(self.cluster)
        if refused := [f"{blocked.reason}: {blocked.message}" for blocked in found if blocked.final]:
            raise CommandFailure("\n".join(refused))
        warnings += [f"{blocked.reason}: {blocked.message}" for blocked in found]
        if seen.server and (unrouted := without_routes(seen.server)):
            warnings.append(unrouted)
        for warning in warnings:
            print(f"warning: {screen.shown(warning)}", file=sys.stderr)
        return bool(warnings)

    def _admission(self) -> list[str]:
        """Let the API server check the job, admission included, and store nothing; return what is worth a warning."""
        namespace = self.job.namespace
        try:
            self.cluster.create(FineTuneJob, self.document, namespace, dry_run=True)
        except AlreadyExists as error:
            return [f"{error}: change metadata.name before you create it"]
        except Forbidden as error:
            if not self.cluster.may("create", FineTuneJob.KIND.plural, "", namespace):
                return [f"you may not create jobs in namespace {namespace}, so admission was not asked: {error}"]
            raise CommandFailure(f"the API server would refuse the job: {error}") from error
        return []
