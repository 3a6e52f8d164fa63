#!/usr/bin/env bash
# Builds the Debian package of the committed state of this checkout:
#   sudo packaging/debian/build.sh SUITE [--arch ARCH] [--revision N] [--output DIR]
# SUITE: bookworm (Debian 12) or trixie (Debian 13). ARCH: amd64, or arm64, which is built and not run. N: the revision
# of the package, 1 where none is named; a higher one with other pinned wheels replaces a lower one of the same version.
# The package, upnp-gw_VERSION_ARCH.deb, is put into DIR (dist/ in the checkout where none is named) and its name printed.
#
# It is built in a fresh minimal tree of the suite, made by debootstrap. Two builds of one commit have the same bytes as
# long as the suite's python3 and debhelper are the same. Needs root and about 3 minutes on two cores.

source "$(dirname "${BASH_SOURCE[0]}")/../../.ci/tree.sh"

suite='' arch=amd64 revision=1 output=$ROOT/dist
while [ $# -gt 0 ]; do
    case $1 in
    --arch | --revision | --output)
        [ $# -ge 2 ] || die "$1 needs a value"
        printf -v "${1#--}" %s "$2"
        shift
        ;;
    -*) die "unknown option: $1" ;;
    *) suite=$1 ;;
    esac
    shift
done
case $suite in
bookworm) release=12 ;;
trixie) release=13 ;;
*) die "which suite? packaging/debian/build.sh bookworm | trixie" ;;
esac
case $arch in amd64 | arm64) ;; *) die "--arch is amd64 or arm64" ;; esac
[[ $revision =~ ^[1-9][0-9]*$ ]] || die "--revision is a number from 1 up"
need_root
need_packages debootstrap=debootstrap

mkdir -p "$output"
tree=$TREES/$suite.package.$$
trap 'rm -rf "$tree"' EXIT
copy_tree "$suite" "$tree"
log=$TREES/$suite.$arch.package.log
say "$suite, $arch: builds; the log is $log"
in_tree "$tree" /srv/upnp-gw/packaging/debian/build_in_tree.sh "$arch" "$revision~deb$release" >"$log" 2>&1 || {
    tail -n 30 "$log" >&2
    die "the package could not be built: $log"
}
for built in "$tree"/srv/*.deb; do
    cp "$built" "$output/"
    printf '%s\n' "$output/${built##*/}"
done
