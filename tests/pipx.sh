#!/usr/bin/env bash
# The blocks of docs/install-pipx.md in fresh trees of Debian 12 and 13, with pipx and with systemd booted in namespaces:
#   sudo tests/pipx.sh [SUITE...]
# install, dry run, again, a port that opens, upgrade with mappings open, boot, remove, purge. The clone in the tree has
# the committed state of this checkout with a tag, and an upgrade pulls a newer tag; the packages that it needs come from
# the registry. About 4 minutes a suite.

source "$(dirname "${BASH_SOURCE[0]}")/../.ci/tree.sh"
source "$ROOT/tests/fresh_readme.sh"
PAGE=$ROOT/docs/install-pipx.md
FIRST=7.0.1 SECOND=7.0.2
need_root
need_packages debootstrap=debootstrap

# The page's lines as root of the tree, who has no sudo, in the clone. pipx takes the pinned versions of the packages.
as_root='sudo() { "$@"; }
cd /srv/upnp-gw
export PATH=$PATH:/root/.local/bin DEBIAN_FRONTEND=noninteractive
export PIP_CONSTRAINT=/srv/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1
'

# make_origin: the repository that the clone in the tree is made from, with the tag of the first version.
make_origin() {
    grep -E '^[A-Za-z].*==' "$ROOT/.ci/requirements.txt" | sed 's/ \\$//' >"$tree/srv/constraints.txt"
    mv "$tree/srv/upnp-gw" "$tree/srv/origin"
    in_tree "$tree" bash -ec "cd /srv
        git -C origin checkout -q -B main
        git -C origin tag v$FIRST
        git clone -q origin upnp-gw"
}

# release_next: the next version is published there.
release_next() {
    booted git -C /srv/origin -c user.name=test -c user.email=test@example.org commit -q --allow-empty -m "the next version"
    booted git -C /srv/origin tag v$SECOND
}

# In the booted tree, with this machine's network: for pipx.
online() {
    nsenter --target "$BOOTED" --mount --pid --uts --ipc --cgroup --root --wd=/proc/"$BOOTED"/root/srv \
        env -i HOME=/root TERM=dumb LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        ${http_proxy:+http_proxy=$http_proxy} ${https_proxy:+https_proxy=$https_proxy} \
        SSL_CERT_FILE=/etc/ssl/certs/machine.crt PIP_CERT=/etc/ssl/certs/machine.crt "$@"
}

pasted_in_tree() { shown_block "$1"; in_tree "$tree" bash -es <<<"$as_root$1"; }
pasted() { shown_block "$1"; booted bash -es <<<"$as_root$1"; }
pasted_online() { shown_block "$1"; online bash -es <<<"$as_root$1"; }
line() { sed -n "$2p" <<<"$1"; }
without_line() { sed "$2d" <<<"$1"; }

# Every file of the system, with its kind and target; not those that a running system changes by itself.
files() { booted find / -xdev \( -path /srv -o -path /proc -o -path /sys -o -path /var/log -o -path /var/tmp \) -prune -o -printf '%p %y %l\n' | sort; }
left() {
    booted find / -xdev \( -path /srv -o -path /proc -o -path /sys -o -path /root -o -path /var/log \) -prune \
        -o -iname '*upnp-gw*' -print
}
mapping() { booted upnp-gw list --json | sed -n 's/.*"id": *"\([^"]*\)".*/\1/p' | head -n 1; }
same_mapping() { [ "$(mapping)" = "$id" ]; }

walk() {
    set -e
    suite=$1
    tree=$TREES/$suite.pipx
    trap 'unboot; rm -rf "$tree" "$tree.boot.log"' EXIT
    copy_tree "$suite" "$tree"
    make_origin
    in_tree "$tree" bash -ec 'apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            systemd systemd-sysv dbus procps iproute2 >/dev/null'

    say "$suite: the page, The program"
    pasted_in_tree "$(page_block "$PAGE" "The program" 1 | sed 's/apt install/apt-get install -y -qq/')"
    seen "the bindings of nftables are not installed" fails in_tree "$tree" python3 -c 'import nftables'
    boot_tree "$tree"
    make_network

    say "$suite: the page, As a service"
    service=$(page_block "$PAGE" "As a service" 1)
    before=$(files)
    pasted "$(line "$service" 1)"
    seen "a dry run changes no file" [ "$(files)" = "$before" ]
    pasted "$(line "$service" 2)"
    pasted "$(line "$service" 3) --yes --wan eth0 --lan br-lan"
    await "the gateway answers" booted upnp-gw status
    seen "it runs as its own user" [ "$(booted ps -o user= -C upnp-gw | sort -u | head -n 1)" = upnp-gw ]
    seen "it has version $FIRST" grep -q "^upnp-gw $FIRST$" <<<"$(booted upnp-gw --version)"
    seen "it loads libnftables by itself" grep -q "own loader" <<<"$(booted upnp-gw doctor)"
    seen "systemd accepts the units" booted systemd-analyze verify --man=no upnp-gw.service upnp-gw-page.service
    seen "bash finds the completion" booted test -s /usr/local/share/bash-completion/completions/upnp-gw
    port_opens_and_closes
    booted upnp-gw add tcp 8443 192.168.1.23:443 --ttl 1h >/dev/null
    await "a packet from the internet arrives" connects 8443
    id=$(mapping)
    before=$(files)
    pasted "$(line "$service" 2)"
    seen "a second run changes no file" [ "$(files)" = "$before" ]
    seen "the installed program does not install itself" fails booted /usr/local/bin/upnp-gw install

    say "$suite: the page, Upgrade"
    release_next
    upgrade=$(page_block "$PAGE" Upgrade 1)
    pasted_online "$(without_line "$upgrade" 3)"
    pasted "$(line "$upgrade" 3)"
    await "the new version answers" booted bash -c "upnp-gw status --json | grep -q $SECOND"
    seen "the mapping is the same" [ "$(mapping)" = "$id" ]
    seen "a packet arrives after the upgrade" connects 8443
    seen "the older version is gone" [ "$(booted ls /opt/upnp-gw/versions | grep -c .)" = 1 ]

    say "$suite: boot"
    unboot
    boot_tree "$tree"
    make_network
    await "the gateway answers" booted upnp-gw status
    # the host says nothing by itself: the gateway asks for it when its LAN is there
    await "a packet arrives after the boot" connects 8443

    say "$suite: the page, Remove"
    remove=$(page_block "$PAGE" Remove 1)
    pasted "$(line "$remove" 1) --yes"
    seen "its table is gone" fails booted nft list table inet upnp_gw
    seen "no port is open" fails connects 8443
    seen "systemd knows no unit of it" fails booted systemctl cat upnp-gw
    seen "its configuration is there" booted test -s /etc/upnp-gw/config.toml
    seen "its state is there" booted test -s /var/lib/upnp-gw/ledger.db
    pasted "$(line "$service" 2)"
    booted systemctl enable -q --now upnp-gw
    await "an installation after that has the mapping" same_mapping
    pasted "$(line "$remove" 1) --purge --yes"
    seen "nothing is left: $(left)" [ -z "$(left)" ]
    seen "its users are gone" fails booted getent passwd upnp-gw upnp-gw-page
    pasted "$(line "$remove" 2)"
    say "$suite: passed"
}

failed=()
suites=("$@")
[ ${#suites[@]} -gt 0 ] || suites=(bookworm trixie)
for suite in "${suites[@]}"; do
    (walk "$suite") &
    wait $! || failed+=("$suite")
done
[ ${#failed[@]} = 0 ] || die "failed: ${failed[*]}"
say "passed in fresh trees of: ${suites[*]}"
