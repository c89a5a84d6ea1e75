#!/usr/bin/env bash
# Style, types, layers and generated files.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=operator:trainer-image:local-cluster:demo
run=.venv/bin
# mypy's cache lies with the other caches: a fresh checkout starts with what an earlier one found. It compares contents.
# Two checkouts that write it at the same time break it: the second waits.
types=${TUNEGATE_CACHE:-$HOME/.cache/tunegate}/types
mkdir -p "$types"
echo "== ruff";              "$run/ruff" check .; "$run/ruff" format --check --quiet .
echo "== mypy --strict";     flock "$types/.lock" "$run/mypy" --cache-dir "$types"
echo "== layers";            "$run/lint-imports" | tail -n 4
echo "== generated files";   "$run/python" -m tunegate.api.crd --check --write crds --chart charts/tunegate-crds
                           "$run/python" -m chores.chart_readme --check
                           "$run/python" -m chores.log_events --check
                           "$run/python" -m chores.threat_model_tests --check
echo "== promises";          "$run/python" -m chores.promises
