#!/usr/bin/env bash
# Makes .venv from the lock file; fetches uv first where the machine has none. Repeatable, quick when nothing changed.
set -euo pipefail
cd "$(dirname "$0")"
cache=${TUNEGATE_CACHE:-$HOME/.cache/tunegate}
uv_version=0.13.9

# Marked as ours when we make it, so that `make clean` may remove it.
[ -d "$cache" ] || { mkdir -p "$cache" && echo "This directory belongs to Tunegate; \`wipe\` removes it." >"$cache/.tunegate-local"; }

fail() { printf 'setup: %s\n' "$1" >&2; exit 1; }

python3 -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))" 2>/dev/null ||
    fail "Python 3.11, 3.12 or 3.13 is needed as python3 (on Debian or Ubuntu: apt-get install python3)"

if command -v uv >/dev/null; then
    uv=uv
else
    uv=$cache/uv/bin/uv
    if [ ! -x "$uv" ]; then
        echo "setup: installing uv $uv_version"
        python3 -m venv "$cache/uv" 2>/dev/null || {
            [ "$(id -u)" = 0 ] || fail "python3 -m venv does not work: install python3-venv"
            apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
            python3 -m venv "$cache/uv"
        }
        "$cache/uv/bin/pip" install -q "uv==$uv_version"
    fi
fi
"$uv" sync --quiet --frozen --no-install-project --extra operator --extra gateway --extra cli --group dev
