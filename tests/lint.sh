#!/usr/bin/env bash
# Style, types, layers and generated files.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=operator:trainer-image:local-cluster:demo
run=.venv/bin
echo "== ruff";              "$run/ruff" check .; "$run/ruff" format --check --quiet .
echo "== mypy --strict";     "$run/mypy"
echo "== layers";            "$run/lint-imports" | tail -n 4
echo "== generated files";   "$run/python" -m tunegate.api.crd --check --write crds --chart charts/tunegate-crds
