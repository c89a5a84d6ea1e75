"""Install the charts as a platform team does: CRDs first, then everything else."""

from __future__ import annotations

import json
import subprocess
import time

from tunegate_demo.cluster import CHECKOUT, Cluster
from tunegate_demo.failure import DemoFailure
from tunegate_demo.inputs import EXAMPLE, SYSTEM, TEAM

QUOTA = "tunegate-objects"
COUNTED_WITHIN_SECONDS = 120
"""Kubernetes looks for new kinds to count every 30 seconds; until then it refuses every object that a quota on them concerns."""


def helm(cluster: Cluster, *arguments: str) -> None:
    """Run helm. Raises DemoFailure with helm's own words."""
    command = [str(cluster.helm), "--kubeconfig", str(cluster.admin.kubeconfig), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DemoFailure(
            f"helm {' '.join(arguments[:3])} failed: {done.stderr.strip()[-1500:]}",
            f"kubectl -n {SYSTEM} get pods,events",
            cluster.admin.attempt("-n", SYSTEM, "get", "pods,events").stdout[-4000:],
        )


def install(cluster: Cluster) -> None:
    """Install or upgrade both charts and wait until everything is ready."""
    charts = CHECKOUT / "charts"
    # CRDs that somebody applied from crds/ are taken over: they are the same files.
    crds = ("upgrade", "--install", "tunegate-crds", str(charts / "tunegate-crds"), "-n", SYSTEM)
    helm(cluster, *crds, "--wait", "--take-ownership", "--force-conflicts")
    images: dict[str, str | list[str]] = {
        name: cluster.images[name] for name in ("operator", "trainer", "mlflow", "registry")
    }
    # The trainer image holds vLLM for CPUs too. A server of an earlier run keeps the image that it was made with.
    servers = cluster.admin.items("modelservers", TEAM)
    engines = [cluster.images["trainer"], *(server["spec"]["profile"]["image"] for server in servers)]
    images["engines"] = list(dict.fromkeys(engines))
    helm(
        cluster,
        *("upgrade", "--install", "tunegate", str(charts / "tunegate"), "-n", SYSTEM, "--create-namespace"),
        *("-f", str(EXAMPLE / "values.yaml"), "--set-json", f"images={json.dumps(images)}"),
        *("--wait", "--timeout", "8m"),
    )
    _wait_until_counted(cluster)


def _wait_until_counted(cluster: Cluster) -> None:
    """Wait until Kubernetes counts what the chart's quota bounds. Raises DemoFailure naming what is not counted."""
    deadline = time.monotonic() + COUNTED_WITHIN_SECONDS
    while uncounted := _uncounted(cluster):
        if time.monotonic() > deadline:
            raise DemoFailure(
                f"ResourceQuota {TEAM}/{QUOTA} does not count {', '.join(uncounted)} after {COUNTED_WITHIN_SECONDS} s",
                "see the log of kube-controller-manager: its resource quota controller counts",
            )
        time.sleep(1)


def _uncounted(cluster: Cluster) -> list[str]:
    quota = cluster.admin.require("resourcequota", QUOTA, TEAM)
    return sorted(set(quota["spec"]["hard"]) - set(quota.get("status", {}).get("used", {})))
