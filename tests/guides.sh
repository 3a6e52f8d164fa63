#!/usr/bin/env bash
# The guides of docs/guides and docs/symptoms in fresh trees of Debian 12 and 13, with the firewalls of each suite, and
# with Docker and libvirt themselves where tests/run.sh has their rules from a file:
#   sudo tests/guides.sh [SUITE...]
# SUITE: bookworm, trixie (both where none is named). The committed state of this checkout is what runs. The trees have
# no systemd: the tests start the programs, in namespaces.

source "$(dirname "${BASH_SOURCE[0]}")/../.ci/tree.sh"
need_root
need_packages debootstrap=debootstrap

suites=("$@")
[ ${#suites[@]} -gt 0 ] || suites=(bookworm trixie)
failed=()
for suite in "${suites[@]}"; do
    tree=$TREES/$suite.guides
    copy_tree "$suite" "$tree"
    drivers=
    [ "$suite" = bookworm ] || drivers=libvirt-daemon-driver-network
    say "$suite: Docker and libvirt"
    # shellcheck disable=SC2016
    in_tree "$tree" bash -c '
        set -e
        cd /srv/upnp-gw
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends python3-venv docker.io docker-cli libvirt-daemon libvirt-clients \
            libvirt-daemon-config-network dnsmasq-base busybox-static $1 >/dev/null 2>&1 ||
            apt-get install -y -qq --no-install-recommends python3-venv docker.io libvirt-daemon libvirt-clients \
                libvirt-daemon-config-network dnsmasq-base busybox-static $1 >/dev/null
        source .ci/prepare.sh
        prepare tests
        export UPNP_GW_ALL_GUIDES=1
        .venv/bin/python -m upnp_gw.lab.enter .venv/bin/python -m pytest tests/lab/guides -rs --durations=20
    ' guides "$drivers" || failed+=("$suite")
    rm -rf "$tree"
done
[ ${#failed[@]} = 0 ] || die "failed: $(printf '%s; ' "${failed[@]}")"
say "passed in fresh trees of: ${suites[*]}"
