"""The gateway as a program with settings of a test, which come over its input."""

from __future__ import annotations

import pickle
import sys

from tunegate.gateway.app import run

if __name__ == "__main__":
    raise SystemExit(run(pickle.load(sys.stdin.buffer)))  # noqa: S301 - the test's own
