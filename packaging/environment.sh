# Sourced by release.sh and audit.sh: an environment of its own, .venv-release, with the pinned tools of a release and
# the pins of the program.

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TOOLS=$ROOT/.venv-release

say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

pins=("$ROOT/.ci/requirements.txt" "$ROOT/.ci/requirements-release.txt")
if [ "$(cat "$TOOLS/.pins" 2>/dev/null)" != "$(cat "${pins[@]}" | sha256sum)" ]; then
    say "tools of a release, in .venv-release"
    "${PYTHON:-python3}" -m venv --clear "$TOOLS"
    "$TOOLS/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "${pins[0]}" -r "${pins[1]}"
    cat "${pins[@]}" | sha256sum >"$TOOLS/.pins"
fi
