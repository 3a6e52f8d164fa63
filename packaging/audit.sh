#!/usr/bin/env bash
# Asks about known flaws of the pinned packages: packaging/audit.sh [FILE...]. Needs the internet. Exit codes: audit.py.

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
exec "$TOOLS/bin/python" "$ROOT/packaging/audit.py" --program "$TOOLS/bin/pip-audit" "$@"
