# Sourced by tests/fresh.sh and tests/kernels.sh: trees of Debian suites, made by debootstrap, and commands in them.
# tests/fresh.sh also boots systemd in one.
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

# A pristine minimal tree of a suite with nothing added but git and python3. Prints where it is. Two commands at once
# make it once.
base_tree() {
    local suite=$1 tree=$TREES/$1.base
    mkdir -p "$TREES"
    (
        flock 9
        [ ! -d "$tree" ] || exit 0
        say "$suite: debootstrap"
        rm -rf "$tree.new"
        debootstrap --variant=minbase --include=python3,git,ca-certificates "$suite" "$tree.new" >"$tree.log" 2>&1 9>&- ||
            die "debootstrap failed: $tree.log"
        mv "$tree.new" "$tree"
    ) 9>"$tree.lock" || exit 1
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

# Starts systemd as process 1 of a tree, in namespaces of its own, the network's too; waits until it has started its
# units. boot_tree TREE; after that: booted COMMAND..., and unboot at the end. One tree at a time.
BOOTED=
boot_tree() {
    local hierarchy child state
    hierarchy=$(findmnt --noheadings --types cgroup2 --output TARGET | head -n 1)
    [ -n "$hierarchy" ] || die "no cgroup2 file system is mounted here; systemd in a tree needs one"
    BOOT_GROUP=$hierarchy/upnp-gw-tree.$$
    mkdir -p "$BOOT_GROUP"
    # shellcheck disable=SC2016
    (
        echo $BASHPID >"$BOOT_GROUP/cgroup.procs"
        exec unshare --mount --pid --uts --ipc --net --cgroup --fork --kill-child bash -c '
            set -e
            tree=$1
            mount --make-rprivate /
            mount --bind "$tree" "$tree"
            cd "$tree"
            mount -t proc proc proc
            # most sysctls are those of the whole machine: the tree may set only those of its own network
            mount --bind proc/sys proc/sys
            mount --bind proc/sys/net proc/sys/net
            mount -o remount,bind,ro proc/sys
            mount -t sysfs sysfs sys
            mount -t cgroup2 cgroup2 sys/fs/cgroup
            mount -t tmpfs -o mode=755 tmpfs dev
            for device in null zero full random urandom tty; do
                touch dev/$device
                mount --bind /dev/$device dev/$device
            done
            mkdir dev/pts dev/shm mnt 2>/dev/null || [ -d mnt ]
            mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
            ln -s pts/ptmx dev/ptmx
            mount -t tmpfs tmpfs dev/shm
            mount -t tmpfs -o mode=755 tmpfs run
            pivot_root . mnt
            umount -l /mnt
            cd /
            exec env -i container=tree PATH=/usr/sbin:/usr/bin:/sbin:/bin /sbin/init
        ' boot "$1"
    ) </dev/null >"$1.boot.log" 2>&1 &
    BOOT_SHELL=$!
    local end=$((SECONDS + 300))
    while [ $SECONDS -lt $end ]; do
        child=$(pgrep -P "$BOOT_SHELL" | head -n 1) || child=
        if [ -n "$child" ] && [ "$(cat "/proc/$child/comm" 2>/dev/null)" = systemd ]; then
            BOOTED=$child
            state=$(booted systemctl is-system-running 2>/dev/null) || true
            # degraded: a unit failed that has no place here, such as the one that loads kernel modules
            case $state in running | degraded) return 0 ;; esac
        fi
        kill -0 "$BOOT_SHELL" 2>/dev/null || break
        sleep 0.2
    done
    unboot
    tail -n 20 "$1.boot.log" >&2
    die "systemd did not start in $1"
}

# Runs a command in the booted tree, in its /srv/upnp-gw, as a root shell would.
booted() {
    nsenter --target "$BOOTED" --mount --pid --uts --ipc --net --cgroup --root --wd=/proc/"$BOOTED"/root/srv/upnp-gw \
        env -i HOME=/root TERM=dumb LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

unboot() {
    [ -n "${BOOT_SHELL:-}" ] || return 0
    # SIGRTMIN+4: systemd stops every unit and powers off. A tree that does not within two minutes is killed
    [ -z "$BOOTED" ] || kill -s RTMIN+4 "$BOOTED" 2>/dev/null || true
    local end=$((SECONDS + 120))
    while [ $SECONDS -lt $end ]; do
        [ -n "$BOOTED" ] && kill -0 "$BOOTED" 2>/dev/null || break
        sleep 0.2
    done
    kill -KILL "$BOOT_SHELL" 2>/dev/null || true # unshare ignores SIGTERM; its child goes with it
    wait "$BOOT_SHELL" 2>/dev/null || true
    BOOTED='' BOOT_SHELL=''
    for _ in $(seq 50); do
        find "$BOOT_GROUP" -depth -type d -exec rmdir {} + 2>/dev/null && break
        sleep 0.1
    done
}
