#!/usr/bin/env bash
# The firewall's tests under the kernels of Debian 12 (6.1) and 13 (6.12), each booted under QEMU:
#   sudo tests/kernels.sh [SUITE...] [-- ARGUMENTS FOR pytest]
# SUITE: bookworm, trixie (both where none is named). The committed state of this checkout is what runs.
# Without arguments for pytest: the demo, the backend's contract suite, packets through the table, expiry, refresh,
# cuts, restarts. QEMU emulates (no KVM needed), so a suite takes 20 to 40 minutes on two cores.

source "$(dirname "${BASH_SOURCE[0]}")/../.ci/tree.sh"
need_root
need_packages debootstrap=debootstrap qemu-system-x86_64=qemu-system-x86 mke2fs=e2fsprogs
export PATH="$PATH:/usr/sbin:/sbin"

suites=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do suites+=("$1"); shift; done
[ $# = 0 ] || shift
[ ${#suites[@]} -gt 0 ] || suites=(bookworm trixie)
[ $# -gt 0 ] || set -- tests/firewall tests/lab/test_crash.py tests/lab/test_end_to_end_restart.py \
    tests/lab/test_end_to_end_traffic.py tests/lab/test_end_to_end_mappings.py tests/lab/test_pinholes.py \
    tests/lab/test_closed_table.py

MEMORY=3G
PASSED="KERNEL-TEST PASSED"

# What the machine runs as its first process.
first_process() {
    cat <<INIT
#!/bin/bash
export HOME=/root LANG=C.UTF-8 TERM=dumb PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mkdir -p /run/lock
ip link set lo up
modprobe tun
hostname kernel-test
cd /srv/upnp-gw
uname -r
nft --version
failed=0
.venv/bin/upnp-gw demo || failed=1
# the limit for a hanging test is that of a machine that is not emulated
.venv/bin/python -m pytest -p no:cacheprovider -o faulthandler_timeout=1800 $(printf '%q ' "$@") || failed=1
[ \$failed = 0 ] && echo "$PASSED"
sync
echo o >/proc/sysrq-trigger
sleep 60
INIT
}

boot() {
    local suite=$1 tree=$TREES/$1.kernel image=$TREES/$1.img log=$TREES/$1.kernel.log
    shift
    copy_tree "$suite" "$tree"
    say "$suite: its kernel and what the tests need"
    in_tree "$tree" bash -c '
        set -e
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends linux-image-cloud-amd64 initramfs-tools kmod >/dev/null
        cd /srv/upnp-gw
        ./tests/run.sh --setup-only
    ' >"$log.setup" 2>&1 || die "$suite: the set-up failed: $log.setup"
    first_process "$@" >"$tree/first-process"
    chmod +x "$tree/first-process"
    rm -f "$image"
    mke2fs -q -t ext4 -d "$tree" "$image" 6G >/dev/null 2>&1 || die "$suite: no image could be made"
    say "$suite: boots; the log is $log"
    qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m "$MEMORY" -nodefaults -nographic -no-reboot \
        -serial stdio -kernel "$(echo "$tree"/boot/vmlinuz-*)" -initrd "$(echo "$tree"/boot/initrd.img-*)" \
        -append "root=/dev/vda rw console=ttyS0 quiet panic=-1 no_timer_check init=/first-process" \
        -drive "file=$image,format=raw,if=virtio,cache=unsafe" </dev/null 2>&1 | stdbuf -oL tr -d '\r' | tee "$log"
    rm -rf "$tree" "$image"
    grep -q "^$PASSED" "$log"
}

failed=()
for suite in "${suites[@]}"; do
    boot "$suite" "$@" || failed+=("$suite")
done
[ ${#failed[@]} = 0 ] || die "failed under the kernels of: ${failed[*]}"
say "passed under the kernels of: ${suites[*]}"
