#!/usr/bin/env bash
# The README's test command: checks, tests without and with the model, the demo under faults, tests on the cluster. Prints what
# runs and how long it took; the first failure stops it with the reason.
#
# A local cluster that already runs is used and left running. Otherwise the tests have one of their own, with its own state,
# and the last part proves that nothing of it is left; after a failure it is stopped and its logs stay.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=operator:trainer-image:local-cluster:demo
export TUNEGATE_CACHE=${TUNEGATE_CACHE:-$HOME/.cache/tunegate} TUNEGATE_REQUIRE_CLUSTER=1
export PATH="$PATH:$TUNEGATE_CACHE/uv/bin"
run=.venv/bin/python
cluster="$run -m tunegate_local"

part() {
    local name=$1 started=$SECONDS
    shift
    printf '\n=== %s\n' "$name"
    "$@" || { printf '\n=== failed: %s (after %d s)\n' "$name" $((SECONDS - started)) >&2; exit 1; }
    printf '=== %s took %d s\n' "$name" $((SECONDS - started))
}
# What computes, at low priority, beside a part that mostly waits. Its words come when it is joined.
beside() {
    beside_name=$1 beside_since=$SECONDS beside_log=$(mktemp)
    shift
    printf '\n=== %s, beside the next part\n' "$beside_name"
    setsid nice -n 10 "$@" >"$beside_log" 2>&1 &
    beside=$!
}
join_beside() {
    local code=0
    wait "$beside" || code=$?
    beside=
    cat "$beside_log"
    rm -f "$beside_log"
    [ "$code" = 0 ] || printf '=== it ended with status %d after %d s\n' "$code" $((SECONDS - beside_since)) >&2
    return "$code"
}
pytest() { $run -m pytest -q "$@"; }
# Tests of one file stay together: they share servers that are slow to start.
parallel=(-n "$(nproc)" --dist loadfile)
remove_cluster() { $cluster wipe && $cluster check-clean --wiped && own=no; }

own=no
if ! $cluster status >/dev/null 2>&1; then
    own=yes
    export TUNEGATE_STATE=${TEST_STATE:?is set by make}
    $cluster wipe
fi
beside=
stop_all() {
    [ -z "$beside" ] || { kill -TERM -- "-$beside" && wait "$beside"; rm -f "$beside_log"; } 2>/dev/null || true
    [ "$own" = no ] || $cluster stop || true
}
trap stop_all EXIT

part "Lint, types, layers, generated files" tests/lint.sh
part "Local cluster" $cluster start
part "Container images" $cluster images
part "Tests without cluster and model" pytest "${parallel[@]}" -m "not cluster and not model and not e2e"
part "The demo under faults, and the documented commands" pytest -s -m e2e tests/e2e tests/docs
beside "Tests on torch, vLLM and the small model" tests/in_trainer_image.sh
part "Tests on the cluster" pytest -m "cluster and not e2e"
part "Tests on torch, vLLM and the small model" join_beside
[ "$own" = no ] || part "Nothing of the cluster is left" remove_cluster
printf '\nAll tests passed in %d s.\n' $SECONDS
