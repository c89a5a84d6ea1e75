#!/usr/bin/env bash
# Tests that need no cluster: those without the model, then those on torch, vLLM and the small model. They take what others leave
# of the processors, and one test may take longer than elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."
renice -n 10 $$ >/dev/null
# The kernel may weigh whole sessions against each other: then a process's own priority counts only within its session.
[ ! -w /proc/self/autogroup ] || echo 10 >/proc/self/autogroup
slower=(-o timeout=600)
echo "--- without cluster and model"
# Tests of one file stay together: they share servers that are slow to start.
.venv/bin/python -m pytest -q -n "$(nproc)" --dist loadfile "${slower[@]}" -m "not cluster and not model and not e2e"
echo "--- on torch, vLLM and the small model"
tests/in_trainer_image.sh -n "$(nproc)" --dist loadfile --durations=10 "${slower[@]}" -m model tests
