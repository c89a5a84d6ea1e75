"""Install the charts as a platform team does: CRDs first, then everything else."""

from __future__ import annotations

import json
import subprocess

from tunegate_demo.cluster import CHECKOUT, Cluster
from tunegate_demo.failure import DemoFailure
from tunegate_demo.inputs import EXAMPLE, SYSTEM, TEAM


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
