"""The `tunegate` command line, as one of the people would use it."""

from __future__ import annotations

import os
import subprocess
import sys

from tunegate_demo.cluster import CHECKOUT
from tunegate_demo.failure import DemoFailure
from tunegate_demo.kubectl import Kubectl


def tunegate(user: Kubectl, *arguments: str, document: str | None = None) -> str:
    """Run `tunegate` with a user's credentials and return what it prints. Raises DemoFailure with its refusal."""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "operator"), "KUBECONFIG": str(user.kubeconfig)}
    command = [sys.executable, "-m", "tunegate.cli", *user.arguments, *arguments]
    done = subprocess.run(command, input=document, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DemoFailure(
            f"tunegate {' '.join(arguments[:2])} failed: {(done.stderr or done.stdout).strip()}",
            "read the message above",
        )
    return done.stdout
