#!/usr/bin/env bash
# Run by build.sh inside a tree of Debian, in the checkout: build_in_tree.sh ARCH REVISION
# Leaves /srv/upnp-gw_VERSION-REVISION_ARCH.deb.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
arch=$1 revision=$2
work=/srv/work
export DEBIAN_FRONTEND=noninteractive PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

# pip's options for wheels that run on the architecture, with the glibc and the Python of this tree.
of_architecture() {
    local machine=aarch64 minor
    [ "$arch" = arm64 ] || return 0
    for minor in $(seq "$(getconf GNU_LIBC_VERSION | cut -d. -f2)" -1 17); do
        printf -- '--platform manylinux_2_%s_%s ' "$minor" "$machine"
    done
    printf -- '--platform manylinux2014_%s' "$machine"
}

# 1. What builds it: tools of the suite, pinned Python packages.
packages=(debhelper python3 python3-venv)
if [ "$arch" = arm64 ]; then
    # what dpkg-shlibdeps compares with; nothing of it is run
    dpkg --add-architecture arm64
    packages+=(binutils-aarch64-linux-gnu libc6:arm64 libgcc-s1:arm64 libstdc++6:arm64)
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
python3 -m venv "$work/venv"
pip() { "$work/venv/bin/python" -m pip "$@"; }
pip install --quiet --require-hashes -r .ci/requirements.txt

# 2. Our own wheel, and the pinned ones for the architecture. pip compares their hashes.
pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$work/own" .
read -ra options <<<"$(of_architecture)"
pip download --quiet --require-hashes --only-binary=:all: --no-deps "${options[@]}" --dest "$work/wheels" \
    -r .ci/requirements.txt
pip install --quiet --no-index --no-deps "$work"/own/*.whl # to run it here, for what it prints

# 3. The environment: the wheels that the program asks for, and none of those that only build it.
cp -a packaging/debian debian
name=python$("$work/venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
environment=debian/environment
pip install --quiet --no-index --find-links "$work/own" --find-links "$work/wheels" --only-binary=:all: \
    "${options[@]}" --no-compile --target "$environment/lib/$name/site-packages" upnp-gw
rm -rf "$environment/lib/$name/site-packages/bin"
install -d "$environment/bin"
ln -s "/usr/bin/$name" "$environment/bin/python3"
printf 'home = /usr/bin\ninclude-system-site-packages = false\n' >"$environment/pyvenv.cfg"
install -m755 debian/program "$environment/bin/upnp-gw"

# 4. Units, users, directories, man pages, completions: those of every installation, with the path of this program.
"$work/venv/bin/python" packaging/tree.py debian/made >/dev/null
# debhelper puts units where systemd of the suite looks
for unit in debian/made/usr/lib/systemd/system/*; do mv "$unit" "debian/upnp-gw.${unit##*/}"; done
rmdir -p --ignore-fail-on-non-empty debian/made/usr/lib/systemd/system
"$work/venv/bin/python" debian/copyright.py "$environment/lib/$name/site-packages" LICENSE >debian/copyright

"$work/venv/bin/python" packaging/sbom.py >debian/upnp-gw.cdx.json

# 5. The package.
version=$("$work/venv/bin/upnp-gw" --version | cut -d' ' -f2)
public=${version%%+*}
# 1.2.dev3 and 1.2rc1 come before 1.2
version=$(sed -E 's/\.?(dev|a|b|rc)([0-9]+)/~\1\2/g' <<<"$public")${version#"$public"}-$revision
cat >debian/changelog <<CHANGELOG
upnp-gw ($version) stable; urgency=medium

  * The changes are in /usr/share/doc/upnp-gw/changelog.gz.

 -- $(sed -n 's/^Maintainer: //p' debian/control)  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
CHANGELOG
dpkg-buildpackage --build=binary --host-arch "$arch" --no-check-builddeps --unsigned-changes --unsigned-buildinfo
