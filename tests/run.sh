#!/usr/bin/env bash
# The README's test command: checks, unit tests and tests on the real cluster. Prints what runs and how long it took; the first
# failure stops it with the reason. A cluster that was already running is left running.
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

was_running=no
$cluster status >/dev/null 2>&1 && was_running=yes
stop_cluster() { [ "$was_running" = yes ] || $cluster stop || true; }
trap stop_cluster EXIT

part "Lint, types, layers, generated files" tests/lint.sh
part "Local cluster" $cluster start
part "Container images" $cluster images
part "Tests without cluster and model" $run -m pytest -q -m "not cluster and not model and not e2e"
install_crds() {
    "$($cluster program kubectl)" --kubeconfig "$($cluster kubeconfig admin)" apply --server-side --force-conflicts -f crds &&
        "$($cluster program kubectl)" --kubeconfig "$($cluster kubeconfig admin)" wait --for=condition=Established --timeout=60s -f crds
}
part "CRDs" install_crds
part "Tests on the cluster" $run -m pytest -q -m "cluster and not e2e" \
    tests/admission tests/api tests/cli tests/governance tests/kube tests/local_cluster
