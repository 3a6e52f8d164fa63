# Sourced by tests/fresh.sh: the shell blocks of README.md, pasted as they stand into a fresh tree, in their order.
# A block is the input of a shell, as when it is pasted: a command that reads its input takes the next line away.
#
# The blocks from "Try it by hand" on run with systemd booted in the tree, in namespaces:
#
#     peer 11.22.33.1 --- eth0 11.22.33.44 [the tree] br-lan 192.168.1.1 --- host 192.168.1.23
#
# Not tried: the kernels of these suites (tests/kernels.sh does), real network cards, Ubuntu.

README=$ROOT/README.md

# block HEADING NUMBER: that shell block under that heading.
block() {
    awk -v heading="## $1" -v wanted="$2" '
        /^## / { here = ($0 == heading) }
        here && /^```sh$/ { number++; inside = (number == wanted); next }
        /^```$/ { inside = 0 }
        inside { print; found = 1 }
        END { exit !found }
    ' "$README" || die "README.md has no shell block $2 under \"$1\""
}

# Every shell block as HEADING:NUMBER, in order.
all_blocks() {
    awk '
        /^## / { heading = substr($0, 4); number = 0 }
        /^```sh$/ { print heading ":" ++number }
    ' "$README"
}

# The blocks that paste_readme pastes. A new block of the README has to be added here and below.
PASTED="See it:1
See it:2
Install:1
Try it by hand:1
Try it by hand:2
Try it by hand:3
Try it by hand:4
As a service:1
Undo the service:1
Policy:1"

# paste_readme SUITE. To be called in a subshell: the first failure ends it.
paste_readme() {
    set -e
    local suite=$1
    tree=$TREES/$suite.readme
    [ "$(all_blocks)" = "$PASTED" ] || die "README.md has other shell blocks than tests/fresh_readme.sh pastes"
    trap 'unboot; rm -rf "$tree" "$tree.boot.log"' EXIT
    copy_tree "$suite" "$tree"

    say "$suite: README, See it"
    paste_in_tree "$(block "See it" 1)"
    # the second block is all the tests: here with one file, whole in the rest of tests/fresh.sh
    paste_in_tree "$(block "See it" 2) tests/test_references.py"
    say "$suite: README, Install"
    paste_in_tree "$(block Install 1)"

    say "$suite: systemd, which every installed Debian has, boots"
    paste_in_tree "apt-get install -y -qq --no-install-recommends systemd systemd-sysv dbus procps >/dev/null"
    boot_tree "$tree"
    make_network

    say "$suite: README, Try it by hand"
    paste "$(block "Try it by hand" 1)" || say "doctor found something; its exit code says so"
    start_by_hand "$(block "Try it by hand" 2)"
    paste "$(block "Try it by hand" 3)"
    booted systemctl kill --signal=INT by-hand
    await "the gateway has stopped" fails booted systemctl is-active --quiet by-hand
    seen "a stop by Ctrl-C leaves the table" booted nft list table inet upnp_gw
    paste "$(block "Try it by hand" 4)"
    seen "uninstall removed the table" fails booted nft list table inet upnp_gw

    say "$suite: README, As a service (alongside), Policy"
    set_up --fix --firewall beside
    seen "the service runs" booted systemctl is-active upnp-gw
    seen "it is enabled" booted systemctl is-enabled upnp-gw
    seen "it runs as its own user" [ "$(booted ps -o user= -C upnp-gw)" = upnp-gw ]
    seen "systemd accepts the unit" booted systemd-analyze verify upnp-gw.service
    seen "the closed table is not loaded at boot" fails booted systemctl is-enabled --quiet upnp-gw-closed
    seen "forwarding is kept for the next boot" booted grep -q 'ip_forward = 1' /etc/sysctl.d/60-upnp-gw.conf
    port_opens_and_closes
    paste "$(block Policy 1)"
    seen "status names the policy" grep -q 'policy.*/etc/upnp-gw/policy.toml' <<<"$(booted upnp-gw status)"
    port_opens_and_closes
    say "$suite: README, Undo the service (alongside)"
    undo

    say "$suite: README, Install again and As a service in router mode"
    booted sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0
    paste_in_tree "$(block Install 1)"
    set_up
    seen "it is the firewall of the machine" grep -q '^firewall *router' <<<"$(booted upnp-gw status)"
    seen "the closed table is loaded at the next boot" booted systemctl is-enabled upnp-gw-closed
    seen "systemd accepts both units" booted systemd-analyze verify upnp-gw.service upnp-gw-closed.service
    seen "the closed table can be loaded" booted nft --check --file /etc/upnp-gw/closed.nft
    seen "the gateway forwards" [ "$(booted sysctl -n net.ipv4.ip_forward)" = 1 ]
    port_opens_and_closes
    say "$suite: it boots with both units enabled, and the network comes later"
    unboot
    boot_tree "$tree"
    seen "the closed table was loaded" [ "$(booted systemctl is-active upnp-gw-closed)" = active ]
    seen "the gateway started after that" [ "$(started upnp-gw)" -gt "$(started upnp-gw-closed)" ]
    make_network
    port_opens_and_closes
    say "$suite: README, Undo the service (router)"
    undo
    seen "forwarding is off" [ "$(booted sysctl -n net.ipv4.ip_forward)" = 0 ]
    say "$suite: every shell block of README.md was pasted"
}

# set_up OPTION...: the block with these options in place of a person who answers.
set_up() { paste "$(block "As a service" 1 | sed "s/^upnp-gw setup\$/upnp-gw setup --yes $*/")"; }
paste_in_tree() { shown_block "$1"; in_tree "$tree" bash -c 'cd /srv/upnp-gw && bash -es' <<<"$1"; }
paste() { shown_block "$1"; booted bash -es <<<"$1"; }
shown_block() { printf '%s\n' "$1" | sed 's/^/  # /' >&2; }

# seen WHAT COMMAND...: dies where the command fails.
seen() {
    local what=$1
    shift
    "$@" >/dev/null || die "not seen: $what"
    say "seen: $what"
}
# When a unit of this boot was started, in microseconds.
started() { booted systemctl show -P ExecMainStartTimestampMonotonic "$1"; }
fails() { ! "$@" 2>/dev/null; }

# await WHAT COMMAND...: until the command succeeds, at most 30 s.
await() {
    local what=$1
    shift
    for _ in $(seq 150); do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.2
    done
    die "not seen within 30 s: $what"
}

# As the README's interfaces are called. The addresses exist in namespaces only.
make_network() {
    booted bash -e <<'NETWORK'
ip link set lo up
for name in peer host; do
    ip netns add $name
    ip -n $name link set lo up
done
ip link add eth0 type veth peer name eth0 netns peer
ip link add br-lan type bridge
ip link add lan-port type veth peer name eth0 netns host
ip link set lan-port master br-lan
ip link set eth0 up
ip link set lan-port up
ip link set br-lan up
ip addr add 11.22.33.44/24 dev eth0
ip addr add 192.168.1.1/24 dev br-lan
ip route add default via 11.22.33.1
ip -n peer link set eth0 up
ip -n peer addr add 11.22.33.1/24 dev eth0
ip -n host link set eth0 up
ip -n host addr add 192.168.1.23/24 dev eth0
ip -n host route add default via 192.168.1.1
NETWORK
    booted systemd-run --quiet --unit=web ip netns exec host python3 -m http.server 443
}

start_by_hand() {
    shown_block "$1"
    booted systemd-run --quiet --unit=by-hand bash -c "$1"
    await "the gateway answers" booted upnp-gw status
}

# The operator opens a port, as in the README; a peer on the internet side connects, and cannot after the delete.
port_opens_and_closes() {
    local ask=(booted ip netns exec peer python3 -c 'import socket
socket.create_connection(("11.22.33.44", 8443), 1)')
    await "the gateway answers" booted upnp-gw status
    booted upnp-gw add tcp 8443 192.168.1.23:443 --ttl 1h >/dev/null
    await "a packet from the internet arrives" "${ask[@]}"
    booted upnp-gw delete tcp/8443 >/dev/null
    seen "the port opens to the internet and closes" fails "${ask[@]}"
}

# Without -e: the lines about the other mode may fail. What counts is what is left.
undo() {
    local lines left
    lines=$(block "Undo the service" 1)
    shown_block "$lines"
    booted bash -s <<<"$lines"
    left=$(booted find / -xdev \( -path /srv -o -path /proc -o -path /sys \) -prune -o -iname '*upnp-gw*' -print)
    seen "no file of it is left: $left" [ -z "$left" ]
    seen "its user and group are gone" fails booted getent passwd upnp-gw
    seen "its group is gone" fails booted getent group upnp-gw
    seen "its table is gone" fails booted nft list table inet upnp_gw
    seen "systemd knows no unit of it" fails booted systemctl cat upnp-gw
}
