#!/usr/bin/env bash
# Mutation testing: does a test fail for every small change of a module? Survivors are shown as diffs, then the numbers of
# each module; minutes, so not in CI. Give modules below operator/, and test files:
#   tests/mutants.sh tunegate/release/counting.py tests/governance/test_counting.py tests/governance/test_counting_properties.py
# mutmut knows modules by their path below src/, hence the copy; nothing is written into the checkout.
set -euo pipefail
cd "$(dirname "$0")/.."
modules=() tests=()
for path in "$@"; do
  case $path in
    tests/*) tests+=("$path") ;;
    *) modules+=("$path") ;;
  esac
done
quoted() { printf '"%s", ' "$@"; }
PATH=$PATH:${TUNEGATE_CACHE:-$HOME/.cache/tunegate}/uv/bin
site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
cp -r operator/tunegate "$work/src/"
cp -r tests trainer-image "$work/"
cat > "$work/pyproject.toml" <<END
[tool.pytest.ini_options]
addopts = ["--import-mode=importlib", "-p", "no:cacheprovider"]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "function"
markers = ["cluster", "model", "e2e"]
[tool.mutmut]
source_paths = ["src"]
only_mutate = [$(quoted "${modules[@]/#/src/}")]
pytest_add_cli_args_test_selection = [$(quoted "${tests[@]}")]
END
uv venv -q --python .venv/bin/python "$work/venv"
uv pip install -q --python "$work/venv/bin/python" mutmut==3.8.1
cd "$work"
# mutmut passes over decorated functions, and much is decided in properties: they become methods that a property calls.
sed -Ezi 's/@property\n    def (\w+)\(/\1 = property(lambda self: self._\1())\n\n    def _\1(/g' "${modules[@]/#/src/}"
export PYTHONPATH=$site:$work/trainer-image PYTHONDONTWRITEBYTECODE=1
venv/bin/mutmut run --max-children "${MUTANTS_AT_ONCE:-$(nproc)}" > log 2>&1 || { tr '\r' '\n' < log | tail -n 30; exit 1; }
venv/bin/mutmut results | sed 's/:.*//' | while read -r mutant; do venv/bin/mutmut show "$mutant"; done
venv/bin/mutmut results --all true | sed -E 's/^ *(.*)\.[^.]*: /\1 /' | sort | uniq -c
