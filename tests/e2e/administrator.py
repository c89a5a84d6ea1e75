"""kubectl as the administrator of the cluster that the demo has set up."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from tests.e2e.test_demo_under_faults import ADMIN
from tests.support.programs import program

Json = dict[str, Any]


def kubectl(*arguments: str, document: Json | None = None) -> str:
    """Run kubectl as the administrator and return what it prints."""
    command = [program("kubectl"), f"--kubeconfig={ADMIN}", *arguments]
    text = None if document is None else json.dumps(document)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    # Its words only: what it was given may be a key.
    assert done.returncode == 0, done.stderr
    return done.stdout
