#!/usr/bin/env bash
# Run by tests/package.sh as root on a Debian that systemd has booted: package_walk.sh STAGE
# The shell blocks of docs/install-debian.md are pasted as they stand, and what follows is looked at. The packages are
# in /srv/first and /srv/second.
#
#   network     the interfaces of tests/booted_home.sh; run at boot, before the network is said to be up
#   install     from nothing to a port that a client opened, with the page
#   upgrade     after a reboot: the port, an upgrade under traffic, remove, install again, purge
#   router      as the whole firewall, with a closed table at boot
#   router2     after a reboot: order, the port, upgrade, remove
#   by_hand     a service of docs/checkout.md runs, and the package takes its place
#   shut        after a reboot where the daemon cannot start: the closed table; purge opens the machine again

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PAGE=$ROOT/docs/install-debian.md
say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
source "$ROOT/tests/booted_home.sh"
booted() { "$@"; }
host() { ip netns exec host "$@"; }
active() { systemctl is-active --quiet "$1"; }
enabled() { systemctl is-enabled --quiet "$1"; }
# What follows a heading of the page, in the folder of a package.
paste_at() { (cd "$1" && paste "$(page_block "$PAGE" "$2" "$3")"); }
table() { nft list table inet upnp_gw 2>/dev/null; }
mapped() { upnp-gw list --json | grep -q "\"external_port\": *$1\\b"; }
listening() { ss -Hlntu "sport = :$1" | grep -q .; }
# Without it nothing answers on port 22, shut or not. Python's web server asks for the name of the machine before it
# listens, and waits for an answer of DNS that never comes.
ssh_listens() { await "the gateway's own port 22 is served" listening 22; }

network() {
    make_network
    [ -e /srv/router ] || nft -f - <<'NFT'
table inet home {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname "br-lan" accept
        ct status dnat accept
        ct label 127 accept
    }
    chain postrouting {
        type nat hook postrouting priority srcnat;
        oifname "eth0" masquerade
    }
}
NFT
    [ -e /srv/router ] || sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    systemd-run --quiet --unit=web-8080 ip netns exec host python3 -m http.server --protocol HTTP/1.1 8080
    systemd-run --quiet --unit=ssh-of-the-gateway python3 -m http.server 22
}

# A client of the LAN opens two ports: one over IGD for a web server of the host, one over NAT-PMP.
client_maps() {
    local said
    said=$(host upnpc -e walk -a 192.168.1.23 8080 8443 tcp 7200 2>&1) || true
    grep -q 'is redirected to internal 192.168.1.23:8080' <<<"$said" || die "upnpc got no port: $said"
    say "seen: upnpc got port 8443"
    said=$(host timeout 60 natpmpc -a 3074 3074 udp 7200 2>&1) || true
    grep -q 'Mapped public port 3074' <<<"$said" || die "natpmpc got no port: $said"
    say "seen: natpmpc got port 3074"
    await "a packet from the internet arrives" connects 8443
    say "seen: a packet from the internet arrives at port 8443"
}

nothing_runs() {
    seen "no service runs" fails active upnp-gw
    seen "none is enabled" fails enabled upnp-gw
    seen "no page runs" fails active upnp-gw-page
    seen "there is no table" fails table
    for port in 1900 5351 5000 5080 5081; do seen "nothing listens on port $port" fails listening $port; done
}

service_runs() {
    await "the gateway answers" upnp-gw status
    seen "the service runs" active upnp-gw
    seen "it is enabled" enabled upnp-gw
    seen "it runs as its own user" [ "$(ps -o user= -p "$(systemctl show -P MainPID upnp-gw)")" = upnp-gw ]
}

install() {
    local mac said
    say "== install"
    paste_at /srv/first Install 1
    nothing_runs
    upnp-gw --version
    seen "the command is that of the package" [ "$(readlink -f "$(command -v upnp-gw)")" = /usr/lib/upnp-gw/bin/upnp-gw ]
    seen "it has a manual" [ -e /usr/share/man/man1/upnp-gw.1.gz ]
    for file in /usr/share/bash-completion/completions/upnp-gw /usr/share/zsh/vendor-completions/_upnp-gw \
        /usr/share/fish/vendor_completions.d/upnp-gw.fish; do
        seen "$file" [ -s $file ]
    done
    seen "its users are there" getent passwd upnp-gw upnp-gw-page
    seen "the gateway is in the group of the page" grep -q '^upnp-gw-page:.*upnp-gw$' /etc/group
    seen "systemd accepts the units" systemd-analyze verify --man=no upnp-gw.service upnp-gw-page.service upnp-gw-closed.service
    seen "a start without a configuration fails" fails systemctl start upnp-gw
    seen "the log says why" grep -q 'config.toml' <<<"$(journalctl -u upnp-gw --no-pager)"
    systemctl reset-failed upnp-gw
    say "== set up"
    # at a terminal, with Enter as each answer
    shown_block "$(page_block "$PAGE" "Set up" 1)"
    page_block "$PAGE" "Set up" 1 >/tmp/walk-block
    printf '\n%.0s' {1..20} | script -qec "bash -e /tmp/walk-block" /dev/null
    rm /tmp/walk-block
    service_runs
    paste_at /srv/first "Set up" 2 || say "the doctor found something; its exit code says so"
    page_runs
    client_maps
    seen "the page lists the port" grep -q 8443 <<<"$(host python3 -c 'import urllib.request as u; print(u.urlopen("http://192.168.1.1:5080/").read())')"
    say "== policy"
    paste_at /srv/first Policy 1
    said=$(host upnpc -e walk -a 192.168.1.23 2323 2323 tcp 3600 2>&1) || true
    grep -q 'failed with code 606' <<<"$said" || die "port 2323 was not refused: $said"
    say "seen: the new rule refuses port 2323"
    say "== a device is blocked, and released"
    mac=$(host cat /sys/class/net/eth0/address)
    upnp-gw block "$mac" >/dev/null
    await "its port is closed" fails connects 8443
    upnp-gw release "$mac" >/dev/null
    client_maps
    upnp-gw list
}

upgrade() {
    local before after counts
    service_runs
    say "seen: it has started with the machine"
    await "the mapping is open after the reboot" connects 8443
    seen "it is listed" mapped 8443
    page_runs
    say "== upgrade under traffic"
    before=$(systemctl show -P MainPID upnp-gw)
    ip netns exec peer python3 "$ROOT/tests/package_traffic.py" 11.22.33.44 8443 >/tmp/walk-traffic &
    traffic=$!
    sleep 2
    paste_at /srv/second Upgrade 1
    await "the gateway answers" upnp-gw status
    sleep 2
    kill $traffic
    wait $traffic || true
    counts=$(cat /tmp/walk-traffic)
    rm /tmp/walk-traffic
    say "packets before, during and after: $counts"
    # an emulated machine may be slower than the clock of TCP
    seen "none was lost, and the open connection went on" \
        grep -qE "^answered [1-9].*, lost 0, sent again ${SENT_AGAIN:-0}, kept [1-9].*, kept lost 0$" <<<"$counts"
    after=$(systemctl show -P MainPID upnp-gw)
    seen "another process serves now" [ "$before" != "$after" ]
    seen "the version is the second one" grep -q -- '-2~' <<<"$(dpkg-query -W -f '${Version}' upnp-gw)"
    seen "the mapping is listed" mapped 8443
    page_runs
    client_maps
    say "== remove"
    paste_at /srv/second Remove 1
    seen "the port is closed" fails connects 8443
    seen "the command is gone" [ ! -e /usr/bin/upnp-gw ]
    seen "the program is gone, with its bytecode" [ ! -e /usr/lib/upnp-gw ]
    nothing_of_the_kernel
    seen "the table of the machine is still there" nft list table inet home
    seen "the machine still forwards" [ "$(sysctl -n net.ipv4.ip_forward)" = 1 ]
    seen "configuration and state stay" [ -s /etc/upnp-gw/config.toml -a -s /var/lib/upnp-gw/ledger.db ]
    say "== install again"
    paste_at /srv/second Install 1
    service_runs
    await "the mapping is open again: its lease has time left" connects 8443
    page_runs
    say "== purge"
    paste_at /srv/second Purge 1
    seen "the port is closed" fails connects 8443
    nothing_is_left
}

nothing_of_the_kernel() {
    seen "the table is gone" fails table
    for port in 1900 5351 5000 5080 5081; do seen "nothing listens on port $port" fails listening $port; done
}

nothing_is_left() {
    local left
    nothing_of_the_kernel
    left=$(find / -xdev \( -path /srv -o -path /proc -o -path /sys \) -prune -o -iname '*upnp-gw*' -print)
    seen "no file of it is left: $left" [ -z "$left" ]
    for name in upnp-gw upnp-gw-page; do
        seen "the user $name is gone" fails getent passwd $name
        seen "its group is gone" fails getent group $name
    done
    seen "systemd knows no unit of it" fails systemctl cat upnp-gw
    seen "dpkg does not know it" fails dpkg-query -W upnp-gw
}

router() {
    ssh_listens
    say "== router mode: install, set up"
    paste_at /srv/first Install 1
    paste_at /srv/first "As the firewall of the machine" 1
    service_runs
    seen "the gateway forwards" [ "$(sysctl -n net.ipv4.ip_forward)" = 1 ]
    seen "the closed table is loaded at the next boot" enabled upnp-gw-closed
    client_maps
    seen "the internet does not reach the gateway itself" fails connects 22
}

router2() {
    ssh_listens
    service_runs
    seen "the closed table was loaded" active upnp-gw-closed
    seen "the gateway started after that" [ "$(started upnp-gw)" -gt "$(started upnp-gw-closed)" ]
    await "the mapping is open after the reboot" connects 8443
    say "== upgrade"
    local closed
    closed=$(started upnp-gw-closed)
    paste_at /srv/second Upgrade 1
    seen "the port was not closed" connects 8443
    seen "the closed table was not loaded again" [ "$(started upnp-gw-closed)" = "$closed" ]
    seen "the internet does not reach the gateway itself" fails connects 22
    say "== remove"
    paste_at /srv/second Remove 1
    nothing_of_the_kernel
    seen "forwarding is off" [ "$(sysctl -n net.ipv4.ip_forward)" = 0 ]
    seen "the machine is not left shut" connects 22
    say "== install again, with a configuration that is wrong"
    paste_at /srv/second Install 1
    service_runs
    systemctl stop upnp-gw
    upnp-gw uninstall --yes
    sed -i 's/mode = "router"/mode = "ruter"/' /etc/upnp-gw/config.toml
}

by_hand() {
    # the program is installed already: tests/package.sh has pasted that block of docs/checkout.md where the internet is
    cd "$ROOT"
    paste "$(page_block docs/checkout.md "As a service" 1 |
        sed 's/^upnp-gw setup$/upnp-gw setup --yes --fix --firewall beside/')"
    service_runs
    client_maps
    say "== the package"
    paste_at /srv/first Install 1 2>&1 | tee /tmp/walk-said
    seen "the installation names the files by hand" grep -q '^    /etc/systemd/system/upnp-gw.service' /tmp/walk-said
    rm /tmp/walk-said
    paste_at /srv/first "After an installation by hand" 1
    hash -r # the block has it for the shell that it is pasted into
    service_runs
    seen "the program of the package runs" \
        grep -q '^/usr/lib/upnp-gw/' "/proc/$(systemctl show -P MainPID upnp-gw)/cmdline"
    seen "its unit is that of the package" grep -qE '^(/usr)?/lib/systemd/' <<<"$(systemctl show -P FragmentPath upnp-gw)"
    seen "the mapping is open" connects 8443
    seen "it is listed" mapped 8443
    paste_at /srv/first Purge 1
    rm -f /etc/sysusers.d/upnp-gw.conf /etc/sysctl.d/60-upnp-gw.conf
    nothing_is_left
}

shut() {
    ssh_listens
    seen "the gateway does not run" fails active upnp-gw
    seen "the closed table was loaded" active upnp-gw-closed
    seen "it is shut" fails connects 22
    paste_at /srv/second Purge 1
    seen "the machine is not left shut" connects 22
    nothing_is_left
}

started() { systemctl show -P ExecMainStartTimestampMonotonic "$1"; }

"$1"
say "STAGE PASSED: $1"
