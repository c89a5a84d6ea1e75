#!/usr/bin/env bash
# The README's test command: checks, tests without and with the model, the demo under faults, tests on the cluster. Prints what
# runs and how long it took; the first failure stops it with the reason. What only computes runs beside what mostly waits.
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
# Beside other parts, as a process group that can be stopped as one. Its words come when it is joined.
beside() {
    beside_since=$SECONDS beside_log=$(mktemp)
    printf '\n=== %s, beside what follows\n' "$1"
    shift
    setsid "$@" >"$beside_log" 2>&1 &
    beside=$!
}
join_beside() {
    local code=0
    wait "$beside" || code=$?
    beside=
    cat "$beside_log"
    rm -f "$beside_log"
    printf '=== all of it took %d s beside other parts\n' $((SECONDS - beside_since))
    return "$code"
}
pytest() { $run -m pytest -q "$@"; }
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
beside "Tests that need no cluster" tests/without_cluster.sh
part "The demo under faults, and the documented commands" pytest -s -m e2e tests/e2e tests/docs
part "Tests on the cluster" pytest -m "cluster and not e2e and not chaos"
part "Tests that need no cluster" join_beside
[ "$own" = no ] || part "Nothing of the cluster is left" remove_cluster
printf '\nAll tests passed in %d s.\n' $SECONDS
