#!/usr/bin/env bash
# The README's test command: checks, tests without and with the model, the demo under faults, tests on the cluster. Prints what
# runs and how long it took, and at the end a table of all parts; the first failure stops it with the reason. What only computes
# runs beside what mostly waits.
#
# A local cluster that already runs is used and left running. Otherwise the tests have one of their own, with its own state,
# and the last part proves that nothing of it is left; after a failure it is stopped and its logs stay.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${CLUSTER:-local}" != local ]; then
    echo "make test needs the local cluster. To test on the cluster of KUBECONFIG run: make cluster-test CLUSTER=current CONFIRM=yes" >&2
    exit 2
fi
export PYTHONPATH=operator:trainer-image:local-cluster:demo
export TUNEGATE_CACHE=${TUNEGATE_CACHE:-$HOME/.cache/tunegate} TUNEGATE_REQUIRE_CLUSTER=1
export PATH="$PATH:$TUNEGATE_CACHE/uv/bin"
run=.venv/bin/python
cluster="$run -m tunegate_local"
lint="Lint, types, layers, generated files"
unit="Tests that need no cluster"

work=$(mktemp -d)
declare -A beside=()
parts=$work/parts

# CPU seconds of child processes that have ended, without those beside. What runs in pods is not among them.
cpu_seconds() {
    local fields file seconds beside_cpu
    fields=$(<"/proc/$$/stat")
    read -ra fields <<<"${fields##*) }"
    cpu=$(((fields[13] + fields[14]) / ticks))
    for file in "$work"/*.took; do
        [ ! -s "$file" ] || { read -r seconds beside_cpu <"$file"; cpu=$((cpu - beside_cpu)); }
    done
}
ticks=$(getconf CLK_TCK)
# took NAME SECONDS CPU_SECONDS
took() {
    printf '%s\t%d\t%d\n' "$@" >>"$parts"
    printf '=== %s took %d s\n' "$1" "$2"
}
part() {
    local name=$1 started=$SECONDS before
    shift
    cpu_seconds
    before=$cpu
    printf '\n=== %s\n' "$name"
    "$@" || { printf '\n=== failed: %s (after %d s)\n' "$name" $((SECONDS - started)) >&2; exit 1; }
    cpu_seconds
    took "$name" $((SECONDS - started)) $((cpu - before))
}
# Beside other parts, as a process group that can be stopped as one. Its words come when it is joined. Bash starts a background
# process with SIGINT and SIGQUIT ignored, and tests would inherit that.
beside() {
    local name=$1
    shift
    printf '\n=== %s, beside what follows\n' "$name"
    setsid env --default-signal=INT,QUIT bash -c '
        "${@:3}" && code=0 || code=$?
        stat=$(<"/proc/$$/stat")
        read -ra fields <<<"${stat##*) }"
        echo "$SECONDS $(((fields[13] + fields[14]) / $2))" >"$1"
        exit $code' - "$work/$name.took" "$ticks" "$@" >"$work/$name.log" 2>&1 &
    beside[$name]=$!
}
join_beside() {
    local name=$1 code=0 seconds cpu
    printf '\n=== %s\n' "$name"
    wait "${beside[$name]}" || code=$?
    unset "beside[$name]"
    cat "$work/$name.log"
    [ "$code" = 0 ] || { printf '\n=== failed: %s\n' "$name" >&2; exit 1; }
    read -r seconds cpu <"$work/$name.took"
    took "$name" "$seconds" "$cpu"
}
pytest() { $run -m pytest -q "$@"; }
remove_cluster() { $cluster wipe && $cluster check-clean --wiped && own=no; }

own=no
if ! $cluster status >/dev/null 2>&1; then
    own=yes
    export TUNEGATE_STATE=${TEST_STATE:?is set by make}
    $cluster wipe
fi
stop_all() {
    for name in "${!beside[@]}"; do
        { kill -TERM -- "-${beside[$name]}" && wait "${beside[$name]}"; } 2>/dev/null || true
    done
    rm -rf "$work"
    [ "$own" = no ] || $cluster stop || true
}
trap stop_all EXIT

beside "$lint" tests/lint.sh
part "Local cluster" $cluster start
part "Container images" $cluster images
join_beside "$lint"
beside "$unit" tests/without_cluster.sh
part "The demo under faults, and the documented commands" pytest -s -m e2e tests/e2e tests/docs
part "Tests on the cluster" pytest -m "cluster and not e2e and not chaos"
join_beside "$unit"
[ "$own" = no ] || part "Nothing of the cluster is left" remove_cluster
printf '\nAll tests passed in %d s.\n\n' $SECONDS
$run -m tunegate_local.timings test <"$parts"
