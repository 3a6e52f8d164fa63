#!/usr/bin/env bash
# Builds the site of the documentation: docs/build.sh [OUTPUT], build/site if it is not given.
# Open build/site/index.html, or copy the directory to any web server: it fetches nothing from elsewhere.
# It needs python3-venv and no root. The first run fetches the packages of .ci/requirements-docs.txt.

source "$(dirname "${BASH_SOURCE[0]}")/../.ci/prepare.sh"
output=$(realpath -m "${1:-$ROOT/build/site}")
cd "$ROOT"
install_site_packages
mkdir -p "$(dirname "$output")"
build/site-venv/bin/python -m tests.docs.site "$output"
say "the site: $output/index.html"
