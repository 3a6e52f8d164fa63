# Sourced by tests/fresh.sh and tests/kernels.sh: trees of Debian suites, made by debootstrap, and commands in them.
# Needs root and debootstrap. Trees are kept in $UPNP_GW_TREES (default /var/tmp/upnp-gw-trees) and made once.

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TREES=${UPNP_GW_TREES:-/var/tmp/upnp-gw-trees}

say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

need_root() { [ "$(id -u)" = 0 ] || die "this needs root: sudo $0"; }

# The packages that a command of ours needs on this machine: need_packages COMMAND=PACKAGE...
need_packages() {
    local pair missing=()
    for pair; do command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}"); done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "Debian packages: ${missing[*]}"
    apt-get update -qq || say "apt-get update failed; trying with the lists that are here"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 ||
        die "apt-get could not install: ${missing[*]}"
}

# A pristine minimal tree of a suite with nothing added but git and python3. Prints where it is.
base_tree() {
    local suite=$1 tree=$TREES/$1.base
    if [ ! -d "$tree" ]; then
        say "$suite: debootstrap"
        mkdir -p "$TREES"
        rm -rf "$tree.new"
        debootstrap --variant=minbase --include=python3,git,ca-certificates "$suite" "$tree.new" >"$tree.log" 2>&1 ||
            die "debootstrap failed: $tree.log"
        mv "$tree.new" "$tree"
    fi
    printf '%s\n' "$tree"
}

# A copy of the tree of a suite, with the committed state of this checkout in /srv/upnp-gw and this machine's way to
# the package registries: name servers, certificates. copy_tree SUITE TARGET
copy_tree() {
    local base bundle
    base=$(base_tree "$1")
    rm -rf "$2"
    cp -a --reflink=auto "$base" "$2"
    git clone -q --no-hardlinks "$ROOT" "$2/srv/upnp-gw"
    cp -L /etc/resolv.conf "$2/etc/resolv.conf"
    bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
    [ ! -e "$bundle" ] || cp -L "$bundle" "$2/etc/ssl/certs/machine.crt"
}

# Runs a command inside a tree, in mount and process namespaces of its own. in_tree TREE COMMAND...
# It pivots instead of changing the root: in a chroot the kernel allows no user namespace.
in_tree() {
    local tree=$1
    shift
    # shellcheck disable=SC2016
    unshare --mount --pid --uts --fork --kill-child bash -c '
        set -e
        tree=$1; shift
        mount --make-rprivate /
        mount --bind "$tree" "$tree"
        cd "$tree"
        mount -t proc proc proc
        mount --rbind /sys sys
        mount --rbind /dev dev
        mount -t tmpfs tmpfs run
        mkdir -p run/lock
        mkdir -p mnt
        pivot_root . mnt
        umount -l /mnt
        cd /
        export SSL_CERT_FILE=/etc/ssl/certs/machine.crt
        [ -s $SSL_CERT_FILE ] || unset SSL_CERT_FILE
        exec env -i HOME=/root TERM=dumb LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            ${SSL_CERT_FILE:+SSL_CERT_FILE=$SSL_CERT_FILE PIP_CERT=$SSL_CERT_FILE} \
            ${http_proxy:+http_proxy=$http_proxy} ${https_proxy:+https_proxy=$https_proxy} "$@"
    ' in_tree "$tree" "$@"
}
