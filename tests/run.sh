#!/usr/bin/env bash
# Every check of the project, from a fresh clone: format, lint, types, imports, all tests with the lab.
# More arguments go to pytest: tests/run.sh tests/gate -k quota
# Exits with 0 only if every check passed. It lists what was skipped, with the reason, and which assertions of
# docs/spec were covered. An ordinary user's lab runs in a user namespace.
#   --quick        as the first argument: all that needs neither root nor Debian packages (only python3-venv), with
#                  fewer examples of the property tests. No lab.
#   --setup-only   as the first argument: stops after the set-up

source "$(dirname "${BASH_SOURCE[0]}")/../.ci/prepare.sh"
mode=tests
if [ "${1:-}" = --quick ]; then
    mode=quick
    shift
fi
prepare "$mode"
[ "${1:-}" != --setup-only ] || exit 0
cd "$ROOT"

failed=()
check() {
    local name=$1
    shift
    say "$name"
    "$@" || failed+=("$name")
}

check "ruff format" "$VENV/bin/ruff" format --check
check "ruff" "$VENV/bin/ruff" check
check "import contracts" "$VENV/bin/lint-imports" --no-cache

# mypy beside the tests, many of which wait for a kernel's clock
types=$(mktemp)
trap 'rm -f "$types"' EXIT
nice "$VENV/bin/mypy" >"$types" 2>&1 &
types_pid=$!
mypy() {
    local code=0
    wait "$types_pid" || code=$?
    cat "$types"
    return $code
}

# the tests start hundreds of daemons: without bytecode each would compile the program
unset PYTHONDONTWRITEBYTECODE
pytest=("$VENV/bin/python" -m pytest)
# All tests get workers, a selection does not: a worker takes some seconds to start. Tests of the lab wait for most of
# their time, so more of them run than there are cores. CI takes one worker for each core: with more, a few tests of the
# lab that wait for less than a second have failed.
if [ $# = 0 ]; then
    workers=$(nproc)
    [ "$mode" = quick ] || [ -n "${CI:-}" ] || workers=$((workers * 2))
    [ "$workers" -le 8 ] || workers=8 # each reads all test files first
    pytest+=(-n "$workers")
fi
if [ "$mode" = quick ]; then
    check "pytest without the lab" "${pytest[@]}" --hypothesis-profile=quick -m "not lab and not packages" "$@"
else
    check "pytest" "$VENV/bin/python" -m upnp_gw.lab.enter "${pytest[@]}" "$@"
fi
check "mypy --strict" mypy

[ ${#failed[@]} = 0 ] || die "failed: $(printf '%s; ' "${failed[@]}")"
say "all passed: ruff format, ruff, mypy --strict, import contracts, pytest$([ "$mode" = tests ] || echo " without the lab")"
