#!/usr/bin/env bash
# The two commands of the README in fresh trees of Debian 12 and 13 that have only git, python3 and apt:
#   sudo tests/fresh.sh [SUITE...] [-- ARGUMENTS FOR tests/run.sh]
# SUITE: bookworm, trixie (both where none is named). The committed state of this checkout is what runs.
# Each command runs twice: it must be safe to run again. About 30 minutes a suite on two cores.

source "$(dirname "${BASH_SOURCE[0]}")/../.ci/tree.sh"
need_root
need_packages debootstrap=debootstrap

suites=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do suites+=("$1"); shift; done
[ $# = 0 ] || shift
[ ${#suites[@]} -gt 0 ] || suites=(bookworm trixie)

failed=()
for suite in "${suites[@]}"; do
    tree=$TREES/$suite.fresh
    copy_tree "$suite" "$tree"
    run() {
        say "$suite: $*"
        in_tree "$tree" bash -c 'cd /srv/upnp-gw && exec "$@"' run "$@" || failed+=("$suite: $*")
    }
    run ./examples/demo.sh
    run ./examples/demo.sh --json >/dev/null
    run ./tests/run.sh "$@"
    rm -rf "$tree"
done
[ ${#failed[@]} = 0 ] || die "failed: $(printf '%s; ' "${failed[@]}")"
say "passed in fresh trees of: ${suites[*]}"
