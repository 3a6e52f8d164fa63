# Sourced by tests of installations, after .ci/tree.sh: a home around a booted tree, in namespaces, and what is seen
# there. `booted` runs a command in the tree; on a machine of its own (QEMU) it is defined to run it as it stands.
#
#     peer 11.22.33.1 --- eth0 11.22.33.44 [the tree] br-lan 192.168.1.1 --- host 192.168.1.23

# page_block FILE HEADING NUMBER: that shell block under that heading of a page.
page_block() {
    awk -v heading="## $2" -v wanted="$3" '
        /^## / { here = ($0 == heading) }
        here && /^```sh$/ { number++; inside = (number == wanted); next }
        /^```$/ { inside = 0 }
        inside { print; found = 1 }
        END { exit !found }
    ' "$1" || die "$1 has no shell block $3 under \"$2\""
}

shown_block() { printf '%s\n' "$1" | sed 's/^/  # /' >&2; }
# A block is the input of a shell, as when it is pasted: a command that reads its input takes the next line away.
paste() { shown_block "$1"; booted bash -es <<<"$1"; }

# seen WHAT COMMAND...: dies where the command fails.
seen() {
    local what=$1
    shift
    "$@" >/dev/null || die "not seen: $what"
    say "seen: $what"
}
fails() { ! "$@" 2>/dev/null; }

# await WHAT COMMAND...: until the command succeeds, at most $LONGEST_S: enough for a machine that is busy with others.
LONGEST_S=${LONGEST_S:-180}
await() {
    local what=$1 end=$((SECONDS + LONGEST_S))
    shift
    while ! "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || die "not seen within $LONGEST_S s: $what"
        sleep 0.2
    done
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
# a device is its MAC address: the same after a reboot
ip -n host link set eth0 address 02:00:00:00:01:23
ip -n host link set eth0 up
ip -n host addr add 192.168.1.23/24 dev eth0
ip -n host route add default via 192.168.1.1
NETWORK
    booted systemd-run --quiet --unit=web ip netns exec host python3 -m http.server 443
}

# One connection from the internet to a port of the gateway.
connects() {
    booted ip netns exec peer python3 -c "import socket
socket.create_connection(('11.22.33.44', $1), 3)"
}

# The service of the page: its user, its rights, a sign-in by the link of upnp-gw open, and who sees which page.
page_runs() {
    local pid get="import sys, urllib.request
urllib.request.urlopen(sys.argv[1], timeout=3).read()"
    await "the page's service runs" booted systemctl is-active --quiet upnp-gw-page
    pid=$(booted systemctl show -P MainPID upnp-gw-page)
    seen "the page runs as its own user" [ "$(booted ps -o user= -p "$pid")" = upnp-gw-page ]
    seen "it has no capability" booted grep -q '^CapPrm:.0000000000000000$' "/proc/$pid/status"
    booted python3 - "$(booted upnp-gw open)" <<'SIGN_IN' || die "not seen: the link of upnp-gw open signs in"
import sys
from http.cookiejar import CookieJar
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

page, _, secret = sys.argv[1].rpartition("/")
browser = build_opener(HTTPCookieProcessor(CookieJar()))
# as the button of the page that the link leads to
answer = browser.open(page, urlencode({"secret": secret}).encode(), timeout=30).read().decode()
sys.exit('action="/sign-out"' not in answer)
SIGN_IN
    say "seen: the link of upnp-gw open signs in"
    await "a device of the LAN sees its page" booted ip netns exec host python3 -c "$get" http://192.168.1.1:5080/
    seen "the internet does not" fails booted ip netns exec peer python3 -c "$get" http://11.22.33.44:5080/
}
