#!/usr/bin/env bash
# Web pages in a real browser against the daemon, in the lab (SR-9): Debian's chromium, headless. It waits a minute for
# the browser to look a name up again, which is why tests/run.sh does not run this.
# Prints what the browser sent and what it was answered. More arguments go to pytest.

source "$(dirname "${BASH_SOURCE[0]}")/../.ci/prepare.sh"
prepare tests
cd "$ROOT"
say "$(chromium --version 2>/dev/null)"
exec "$VENV/bin/python" -m upnp_gw.lab.enter "$VENV/bin/python" -m pytest -v -s tests/lab/browser_pages.py tests/lab/browser_emulate.py "$@"
