#!/usr/bin/env bash
# Builds wheel, sdist and SBOM of the committed state, and checks them: packaging/release.sh [DIRECTORY], default dist/.
# It builds twice, in two clones, and compares. The tag decides the version. SHA256SUMS is made last.

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
to=$(realpath -m "${1:-$ROOT/dist}")
[ -z "$(git -C "$ROOT" status --porcelain)" ] || die "there are changes that are not committed"
[ ! -e "$to" ] || [ -z "$(ls -A "$to")" ] || die "$to is not empty"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for number in 1 2; do
    say "build $number of 2"
    git clone -q --no-hardlinks "$ROOT" "$work/$number"
    (
        cd "$work/$number"
        umask 0$((number * 20 + 2)) # 022, 042
        "$TOOLS/bin/python" -m build --no-isolation --outdir "$work/dist-$number" . >"$work/build.log" 2>&1
    ) || { tail -n 20 "$work/build.log" >&2; die "the build failed"; }
done
for file in "$work"/dist-1/*; do
    cmp "$file" "$work/dist-2/${file##*/}" || die "two builds differ: ${file##*/}"
done
say "both builds have the same bytes"

"$TOOLS/bin/twine" check --strict "$work"/dist-1/* >&2 || die "twine refuses the metadata"

say "SBOM"
"$TOOLS/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-index --force-reinstall \
    "$work"/dist-1/*.whl
SOURCE_DATE_EPOCH=$(git -C "$ROOT" log -1 --format=%ct) \
    "$TOOLS/bin/python" "$ROOT/packaging/sbom.py" >"$work/dist-1/upnp-gw.cdx.json"
"$TOOLS/bin/python" - "$work/dist-1/upnp-gw.cdx.json" <<'CHECK'
import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(Path(sys.argv[1]).read_text("utf-8"))
sys.exit(f"error: not CycloneDX 1.6: {problem}" if problem else 0)
CHECK

mkdir -p "$to"
cp "$work"/dist-1/* "$to"
(cd "$to" && sha256sum -- * >SHA256SUMS && cat SHA256SUMS)
say "in $to. Next: docs/releasing.md"
