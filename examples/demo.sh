#!/usr/bin/env bash
# Shows upnp-gw in a lab of network namespaces, from a fresh clone: ./examples/demo.sh [--json]
# Sets up what is missing (Debian packages by apt, Python packages in .venv), says so, and touches nothing else.
# The first argument --setup-only stops after that.

source "$(dirname "${BASH_SOURCE[0]}")/../.ci/prepare.sh"
prepare product
[ "${1:-}" != --setup-only ] || exit 0
exec "$VENV/bin/upnp-gw" demo "$@"
