#!/usr/bin/env bash
# The Debian package, from the build to the purge, in fresh trees of Debian 12 and 13:
#   sudo tests/package.sh [--qemu] [--built] [SUITE...]
# SUITE: bookworm, trixie (both where none is named). The committed state of this checkout is what is packed.
#
# Builds it. tests/package_walk.sh walks through docs/install-debian.md in trees that systemd has booted in namespaces,
# with reboots, clients and packets: beside another firewall, as the firewall, and after an installation by hand.
# Then it is built again (the bytes must be the same), and for arm64, which is not run. lintian judges both.
#   --qemu   walks beside another firewall under the suite's kernel too, on a machine of its own (QEMU, no KVM)
#   --built  walks with the packages of the last run, and builds nothing
#   --walk   does not build again, and not for arm64

source "$(dirname "${BASH_SOURCE[0]}")/../.ci/tree.sh"
need_root
source "$ROOT/tests/booted_home.sh"
need_packages debootstrap=debootstrap
export PATH="$PATH:/usr/sbin:/sbin"

qemu='' built='' walk_only='' suites=()
for argument; do
    case $argument in
    --qemu) qemu=yes ;;
    --built) built=yes ;;
    --walk) walk_only=yes ;;
    -*) die "unknown option: $argument" ;;
    *) suites+=("$argument") ;;
    esac
done
[ ${#suites[@]} -gt 0 ] || suites=(bookworm trixie)
[ -z "$qemu" ] || need_packages qemu-system-x86_64=qemu-system-x86 mke2fs=e2fsprogs

build() { "$ROOT/packaging/debian/build.sh" "$@" >/dev/null; }

# build_first SUITE DIR: the package, and with a higher revision, as newer pins would have it.
build_first() {
    set -e
    rm -rf "$2"
    build "$1" --output "$2/first"
    local content=$TREES/$1.content package
    rm -rf "$content"
    dpkg-deb --raw-extract "$2"/first/*.deb "$content"
    sed -i 's/^\(Version: .*\)-1~deb/\1-2~deb/' "$content/DEBIAN/control"
    package=$(basename "$2"/first/*.deb)
    mkdir "$2/second"
    dpkg-deb --build -Zgzip -z1 "$content" "$2/second/${package/-1~deb/-2~deb}" >/dev/null
    rm -rf "$content"
}

# build_others SUITE DIR: again (the same), and for arm64 with a higher revision.
build_others() {
    set -e
    rm -rf "$2/again" "$2/arm64"
    build "$1" --output "$2/again"
    cmp "$2"/first/*.deb "$2"/again/*.deb
    say "$1: two builds have the same bytes: $(sha256sum "$2"/first/*.deb | cut -d' ' -f1)"
    build "$1" --output "$2/arm64" --arch arm64 --revision 2
    ls -l "$2"/*/*.deb >&2
}

# judge SUITE DIR: lintian of that suite.
judge() {
    set -e
    tree=$TREES/$1.lintian # not local: the trap reads it when the function has ended
    trap 'rm -rf "$tree"' EXIT
    copy_tree "$1" "$tree"
    cp -a "$2" "$tree/srv/packages"
    in_tree "$tree" bash -c '
        set -e
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends lintian >/dev/null
        for package in /srv/packages/first/*.deb /srv/packages/arm64/*.deb; do
            echo "lintian $(lintian --print-version), ${package##*/}:"
            lintian --allow-root --fail-on error,warning --info --tag-display-limit 0 "$package"
        done
        # no object of another architecture is in either of them
        apt-get install -y -qq --no-install-recommends file >/dev/null
        for pair in first:x86-64 arm64:aarch64; do
            dpkg-deb --extract /srv/packages/${pair%:*}/*.deb /srv/content
            found=$(find /srv/content -name "*.so*" -exec file {} + | grep -c "${pair#*:}")
            other=$(find /srv/content -type f -exec file {} + | grep "ELF" | grep -vc "${pair#*:}") || true
            echo "${pair%:*}: $found objects for ${pair#*:}, $other for another architecture"
            [ "$found" -gt 10 ] && [ "$other" = 0 ]
            rm -rf /srv/content
        done
    ' >&2
    say "$1: lintian found no error and no warning"
}

# tree_for_walk SUITE DIR TREE: systemd, clients, the packages, and what these need from the archive, not yet installed.
tree_for_walk() {
    copy_tree "$1" "$3"
    cp -a "$2/first" "$2/second" "$3/srv/"
    in_tree "$3" bash -c '
        set -e
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends systemd systemd-sysv dbus procps iproute2 curl miniupnpc natpmpc \
            >/dev/null
        apt-get install -y -qq --download-only /srv/first/*.deb >/dev/null
    '
    cat >"$3/etc/systemd/system/walk-network.service" <<UNIT
[Unit]
Before=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/srv/upnp-gw/tests/package_walk.sh network
[Install]
WantedBy=multi-user.target
UNIT
    in_tree "$3" systemctl --quiet enable walk-network
}

# walk TREE STAGE...: one boot for each stage.
walk() {
    local tree=$1 stage
    shift
    for stage; do
        say "$suite: boots, for the stage $stage"
        boot_tree "$tree"
        booted tests/package_walk.sh "$stage"
        unboot
    done
}

# In a subshell: the first failure ends it.
walk_suite() {
    set -e
    suite=$1
    tree=$TREES/$suite.walk
    trap 'unboot; rm -rf "$tree" "$tree.router" "$tree.by-hand" "$tree.boot.log"' EXIT
    tree_for_walk "$suite" "$2" "$tree"
    cp -a --reflink=auto "$tree" "$tree.router"
    # a machine with a firewall of its own
    in_tree "$tree" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nftables >/dev/null
    walk "$tree" install upgrade
    rm -rf "$tree"
    mv "$tree.router" "$tree"
    touch "$tree/srv/router"
    cp -a --reflink=auto "$tree" "$tree.by-hand"
    walk "$tree" router router2 shut
    rm -rf "$tree"
    mv "$tree.by-hand" "$tree"
    rm "$tree/srv/router"
    in_tree "$tree" bash -c 'cd /srv/upnp-gw && bash -es' <<<"$(page_block "$ROOT/docs/checkout.md" Install 1)" >/dev/null
    walk "$tree" by_hand
}

WALKED="PACKAGE-WALK PASSED"

# The same stages under the suite's kernel: a machine that is switched off and on between them.
walk_in_qemu() {
    set -e
    suite=$1
    tree=$TREES/$suite.machine image=$TREES/$suite.machine.img
    local stage log
    trap 'rm -rf "$tree" "$image"' EXIT
    tree_for_walk "$suite" "$2" "$tree"
    in_tree "$tree" bash -c '
        set -e
        export DEBIAN_FRONTEND=noninteractive
        apt-get install -y -qq --no-install-recommends nftables linux-image-cloud-amd64 initramfs-tools \
            kmod udev >/dev/null
        echo "/dev/vda / ext4 defaults 0 1" >/etc/fstab
        systemctl --quiet mask systemd-networkd-wait-online
    '
    cat >"$tree/etc/systemd/system/walk.service" <<UNIT
[Unit]
After=multi-user.target
[Service]
Type=oneshot
TimeoutStartSec=infinity
Environment=HOME=/root LANG=C.UTF-8 TERM=dumb LONGEST_S=300 SENT_AGAIN=[0-9]+
ExecStart=/srv/walk-next
[Install]
WantedBy=multi-user.target
UNIT
    cat >"$tree/srv/walk-next" <<NEXT
#!/bin/bash
stage=\$(cat /srv/stage)
/srv/upnp-gw/tests/package_walk.sh "\$stage" >/dev/console 2>&1 && echo "$WALKED: \$stage" >/dev/console
echo upgrade >/srv/stage
systemctl --no-block poweroff
NEXT
    chmod +x "$tree/srv/walk-next"
    echo install >"$tree/srv/stage"
    in_tree "$tree" systemctl --quiet enable walk
    cp "$tree"/boot/vmlinuz-* "$TREES/$suite.vmlinuz"
    cp "$tree"/boot/initrd.img-* "$TREES/$suite.initrd"
    mke2fs -q -t ext4 -d "$tree" "$image" 6G >/dev/null 2>&1 || die "$suite: no image could be made"
    rm -rf "$tree"
    for stage in install upgrade; do
        log=$TREES/$suite.machine.$stage.log
        say "$suite: a machine boots, for the stage $stage; the log is $log"
        qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 2G -nodefaults -nographic -no-reboot \
            -serial stdio -kernel "$TREES/$suite.vmlinuz" -initrd "$TREES/$suite.initrd" \
            -append "root=/dev/vda rw console=ttyS0 quiet panic=-1 no_timer_check" \
            -drive "file=$image,format=raw,if=virtio,cache=unsafe" </dev/null 2>&1 | stdbuf -oL tr -d '\r' | tee "$log" >&2
        grep -q "$WALKED: $stage" "$log"
    done
}

failed=()
part() {
    # not in a list with ||: there bash ignores set -e
    ("$@") &
    wait $! || failed+=("$2: $1")
}
for suite in "${suites[@]}"; do
    packages=$TREES/$suite.packages
    [ -n "$built" ] || part build_first "$suite" "$packages"
    part walk_suite "$suite" "$packages"
    [ -z "$qemu" ] || part walk_in_qemu "$suite" "$packages"
    [ -z "$built$walk_only" ] || continue
    part build_others "$suite" "$packages"
    part judge "$suite" "$packages"
done
[ ${#failed[@]} = 0 ] || die "failed: $(printf '%s; ' "${failed[@]}")"
say "passed: ${suites[*]}"
