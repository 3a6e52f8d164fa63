#!/usr/bin/env bash
# Builds the site of the documentation: docs/build.sh [--read | --check] [OUTPUT], build/site if OUTPUT is not given.
# Open build/site/index.html, or copy the directory to any web server: it fetches nothing from elsewhere.
# It needs python3-venv and no root. The first run fetches the packages of .ci/requirements-docs.txt.
#   --read   reads all pages as the build does, with its warnings, and makes no HTML: half the time
#   --check  builds, and looks at the site in Debian's chromium: every width, accessibility, search, keyboard. Half a
#            minute; it needs what tests/run.sh installs

source "$(dirname "${BASH_SOURCE[0]}")/../.ci/prepare.sh"
how=
case ${1:-} in
--read | --check)
    how=$1
    shift
    ;;
-*) die "unknown option: $1" ;;
esac
output=$(realpath -m "${1:-$ROOT/build/site}")
cd "$ROOT"
if [ "$how" = --check ]; then prepare tests; else install_site_packages; fi
mkdir -p "$(dirname "$output")"
if [ "$how" = --read ]; then
    build/site-venv/bin/python -m tests.docs.site --read "$output"
    exit
fi
build/site-venv/bin/python -m tests.docs.site "$output"
if [ "$how" = --check ]; then UPNP_GW_SITE=$output "$VENV/bin/python" -m pytest -q tests/docs/browser_site.py; fi
say "the site: $output/index.html"
