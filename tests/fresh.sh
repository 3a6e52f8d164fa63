#!/usr/bin/env bash
# The blocks of README.md and docs/checkout.md in fresh trees of Debian 12 and 13 that have only git, python3 and apt:
#   sudo tests/fresh.sh [SUITE...] [-- ARGUMENTS FOR tests/run.sh]
#   sudo tests/fresh.sh --readme [SUITE...]
# SUITE: bookworm, trixie (both where none is named). The committed state of this checkout is what runs.
# First the README's blocks are pasted as they stand (tests/fresh_readme.sh), with --readme nothing else: 3 minutes a
# suite. Then its first two commands run twice each: they must be safe to run again. About 30 minutes a suite on two
# cores.

source "$(dirname "${BASH_SOURCE[0]}")/../.ci/tree.sh"
source "$ROOT/tests/fresh_readme.sh"
need_root
need_packages debootstrap=debootstrap

readme_only=
suites=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    case $1 in
    --readme) readme_only=yes ;;
    -*) die "unknown option: $1" ;;
    *) suites+=("$1") ;;
    esac
    shift
done
[ $# = 0 ] || shift
[ ${#suites[@]} -gt 0 ] || suites=(bookworm trixie)

failed=()
for suite in "${suites[@]}"; do
    # not in a list with ||: there bash ignores set -e
    (paste_readme "$suite") &
    wait $! || failed+=("$suite: the README's blocks")
    [ -z "$readme_only" ] || continue
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
