# Sourced by tests/fresh.sh: the shell blocks of README.md and docs/checkout.md, pasted as they stand into a fresh tree.
# The blocks from "Try it by hand" on run with systemd booted in the tree, in namespaces (tests/booted_home.sh).
#
# Not tried: the kernels of these suites (tests/kernels.sh does), real network cards, Ubuntu.

source "$ROOT/tests/booted_home.sh"
README=$ROOT/README.md
CHECKOUT=$ROOT/docs/checkout.md

# block HEADING NUMBER: that shell block of one of the two pages.
block() {
    case $1 in
    "See it" | Policy) page_block "$README" "$1" "$2" ;;
    *) page_block "$CHECKOUT" "$1" "$2" ;;
    esac
}

# Every shell block as HEADING:NUMBER, in order.
all_blocks() {
    awk '
        /^## / { heading = substr($0, 4); number = 0 }
        /^```sh$/ { print heading ":" ++number }
    ' "$README" "$CHECKOUT"
}

# The blocks that paste_readme pastes. A new block of the two pages has to be added here and below.
PASTED="See it:1
See it:2
Policy:1
Install:1
Try it by hand:1
Try it by hand:2
Try it by hand:3
Try it by hand:4
As a service:1
Undo the service:1"

# paste_readme SUITE. To be called in a subshell: the first failure ends it.
paste_readme() {
    set -e
    local suite=$1
    tree=$TREES/$suite.readme
    [ "$(all_blocks)" = "$PASTED" ] || die "README.md and docs/checkout.md have other shell blocks than tests/fresh_readme.sh pastes"
    trap 'unboot; rm -rf "$tree" "$tree.boot.log"' EXIT
    copy_tree "$suite" "$tree"

    say "$suite: README, See it"
    paste_in_tree "$(block "See it" 1)"
    # the second block is all the tests: here with one file, whole in the rest of tests/fresh.sh
    paste_in_tree "$(block "See it" 2) tests/test_references.py"
    say "$suite: docs/checkout.md, Install"
    paste_in_tree "$(block Install 1)"

    say "$suite: systemd, which every installed Debian has, boots"
    paste_in_tree "apt-get install -y -qq --no-install-recommends systemd systemd-sysv dbus procps >/dev/null"
    boot_tree "$tree"
    make_network

    say "$suite: docs/checkout.md, Try it by hand"
    paste "$(block "Try it by hand" 1)" || say "doctor found something; its exit code says so"
    start_by_hand "$(block "Try it by hand" 2)"
    paste "$(block "Try it by hand" 3)"
    booted systemctl kill --signal=INT by-hand
    await "the gateway has stopped" fails booted systemctl is-active --quiet by-hand
    seen "a stop by Ctrl-C leaves the table" booted nft list table inet upnp_gw
    paste "$(block "Try it by hand" 4)"
    seen "uninstall removed the table" fails booted nft list table inet upnp_gw

    say "$suite: docs/checkout.md, As a service (alongside); README, Policy"
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
    say "$suite: docs/page.md, As a service"
    paste "$(page_block "$ROOT/docs/page.md" "As a service" 1)"
    seen "systemd accepts the unit of the page" booted systemd-analyze verify --man=no upnp-gw-page.service
    page_runs
    paste "$(page_block "$ROOT/docs/page.md" "As a service" 2)"
    seen "the page is gone" fails booted upnp-gw open
    seen "its group is gone" fails booted getent group upnp-gw-page
    port_opens_and_closes
    say "$suite: docs/checkout.md, Undo the service (alongside)"
    undo

    say "$suite: docs/checkout.md, Install again and As a service in router mode"
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
    say "$suite: docs/checkout.md, Undo the service (router)"
    undo
    seen "forwarding is off" [ "$(booted sysctl -n net.ipv4.ip_forward)" = 0 ]
    say "$suite: every shell block of README.md and docs/checkout.md was pasted"
}

# set_up OPTION...: the block with these options in place of a person who answers.
set_up() { paste "$(block "As a service" 1 | sed "s/^upnp-gw setup\$/upnp-gw setup --yes $*/")"; }
paste_in_tree() { shown_block "$1"; in_tree "$tree" bash -c 'cd /srv/upnp-gw && bash -es' <<<"$1"; }

# When a unit of this boot was started, in microseconds.
started() { booted systemctl show -P ExecMainStartTimestampMonotonic "$1"; }

start_by_hand() {
    shown_block "$1"
    booted systemd-run --quiet --unit=by-hand bash -c "$1"
    await "the gateway answers" booted upnp-gw status
}

# The operator opens a port, as in the README; a peer on the internet side connects, and cannot after the delete.
port_opens_and_closes() {
    await "the gateway answers" booted upnp-gw status
    booted upnp-gw add tcp 8443 192.168.1.23:443 --ttl 1h >/dev/null
    await "a packet from the internet arrives" connects 8443
    booted upnp-gw delete tcp/8443 >/dev/null
    seen "the port opens to the internet and closes" fails connects 8443
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
