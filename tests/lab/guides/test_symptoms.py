"""Each symptom is made, the command of its page shows what the page says, the remedy is applied, a packet comes."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests import ROOT
from tests.fixtures.waiting import until
from tests.lab.end_to_end import REACHED_S, TCP, UDP
from tests.lab.guides.machine import CONFIG, GuideHome, bash, guide_home, own_files
from tests.lab.guides.pages import page, shows
from tests.lab.guides.test_beside import MASQUERADE, UFW_FILES, finds
from tests.lab.igd_control_point import refused
from tests.lab.page_process import page_process
from upnp_gw.lab.probe import EchoServer, reach
from upnp_gw.lab.topology import peer_network
from upnp_gw.model.request import Refusal
from upnp_gw.protocols.igd.faults import REFUSALS
from upnp_gw.protocols.natpmp.mapping import RESULTS as NATPMP_RESULTS
from upnp_gw.protocols.pcp.mapping import RESULTS as PCP_RESULTS

pytestmark = pytest.mark.lab

COUNTED_S = 25.0
"""The counters are read every ten seconds."""
POLICY = CONFIG + '\n[gate]\npolicy = "/etc/upnp-gw/policy.toml"\n'
NO_DEVICE = 'version = 1\ndefault = "deny"\n'
CLOSED = """
nft -f - <<'EOF'
table inet filter {
  chain input { type filter hook input priority filter; policy drop;
    ct state established,related accept
    iifname "lo" accept
    meta l4proto { icmp, ipv6-icmp } accept
  }
}
EOF
"""
CLOSED_FORWARD = """
nft -f - <<'EOF'
table inet filter {
  chain forward { type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "br-lan" accept
  }
}
EOF
"""


@contextmanager
def symptom(directory: Path, setup: str = "", policy: str = "") -> Iterator[GuideHome]:
    """A home with NAT, and more set-up. ``policy``: in place of the built-in one."""
    write = f"cat >/etc/upnp-gw/policy.toml <<'EOF'\n{policy}\nEOF\n" if policy else ""
    with guide_home(directory, setup=MASQUERADE + setup + write, config=POLICY if policy else CONFIG) as home:
        yield home


def printed_lines(doctor: str, begins: str) -> str:
    """The line of commands that the doctor prints, and that begins with these words."""
    (line,) = [line.strip() for line in doctor.splitlines() if line.strip().startswith(begins)]
    return line


def connections(listing: str) -> int:
    """CONNS of the only mapping of ``upnp-gw list``."""
    heading, row = listing.splitlines()
    return int(row.split()[heading.split().index("CONNS")])


def test_strict_nat(namespaces: None, tmp_path: Path) -> None:
    with page("symptoms/strict-nat.md") as symptom_page, symptom(tmp_path, policy=NO_DEVICE) as home:
        with refused(606):
            home.point().add(3074, UDP, NewLeaseDuration=0)
        output = home.shell(symptom_page.take("A console says strict or moderate NAT"))
        assert shows(output, symptom_page.take("No rule allows it", "text"))
        home.shell(symptom_page.take("No rule allows it"))
        home.point().add(3074, UDP, NewLeaseDuration=0)
        with EchoServer(home.console, UDP, 3074):
            assert home.reach(3074, UDP).answered_by == "console"
        home.daemon.cli("retract", "allow-ps5")
        assert home.shut(3074, UDP)


def test_port_closed(namespaces: None, tmp_path: Path) -> None:
    with page("symptoms/port-closed.md") as symptom_page, symptom(tmp_path) as home:
        own_files(home.pc, tmp_path / "pc", unpacked=True)
        bash(home.pc, UFW_FILES + "ufw --force enable")
        with EchoServer(home.pc, TCP, 51413):
            home.point("pc").add(51413)
            assert home.shut(51413)
            command = symptom_page.take("A torrent program says that its port is closed")
            quoted = symptom_page.take("The firewall of the computer", "text")
            assert until(lambda: shows(home.shell(command), quoted), COUNTED_S)
            home.shell(symptom_page.take("The firewall of the computer"), host=home.pc)
            assert home.reach(51413).answered_by == "pc"


def test_nothing_finds_the_gateway(namespaces: None, tmp_path: Path) -> None:
    with page("symptoms/nothing-finds-the-gateway.md") as symptom_page, symptom(tmp_path, CLOSED) as home:
        from_device = symptom_page.take("Between the device and the gateway")
        assert "no gateway: pcp: no answer" in bash(home.pc, f"{from_device} --timeout 0.5", check=False).stdout
        output = home.shell(symptom_page.take("Nothing finds the gateway"), check=False)
        assert shows(output, symptom_page.take("A firewall of the gateway", "text"))
        bash(home.gateway, printed_lines(output, "nft insert rule inet filter input"))
        assert finds(home)
        assert f"{home.external}:8080 tcp" in home.shell(from_device, host=home.pc)
        with EchoServer(home.pc, TCP, 8080):
            assert home.reach(8080).answered_by == "pc"
        home.gateway.ip("link set br-lan multicast off")
        assert "FAIL multicast" in " ".join(home.doctor().split())


ABOVE = IPv4Address("192.168.9.44")


def test_double_nat(namespaces: None, tmp_path: Path) -> None:
    """The internet of the lab is the router above: it translates, and sends everything else to the gateway."""
    with page("symptoms/double-nat.md") as symptom_page, symptom(tmp_path) as home:
        router, public = home.lab.internet, peer_network(1)[1]
        router.ip("addr add 192.168.9.1/24 dev gateway")
        router.nft(
            f"""table ip nat {{
  chain pre {{ type nat hook prerouting priority dstnat; iifname "peer1" ip daddr {public} dnat to {ABOVE}; }}
  chain post {{ type nat hook postrouting priority srcnat; oifname "peer1" ip saddr {ABOVE} masquerade; }}
}}"""
        )
        home.gateway.ip(
            f"addr add {ABOVE}/24 dev eth0",
            f"addr del {home.external}/24 dev eth0",
            "route replace default via 192.168.9.1",
        )
        command, quoted = symptom_page.take("Double NAT, and CGN"), symptom_page.take("Double NAT, and CGN", "text")
        assert until(lambda: shows(home.shell(command), quoted))
        (finding,) = [check for check in home.ask("GET", "/v1/doctor") if check["name"] == "external address"]
        assert finding["guide"] == f"docs/{symptom_page.name}"
        heading = "A router above this one"
        config = symptom_page.take(heading, "toml")
        assert 'advertise = "198.51.100.7"' in config
        config = config.replace("198.51.100.7", str(public))
        home.gateway.run(["tee", "/etc/upnp-gw/config.toml"], text=config)
        home.shell(symptom_page.take(heading))
        wanted = symptom_page.take(heading, "text").replace("198.51.100.7", str(public))
        assert shows(home.shell("upnp-gw status"), wanted)
        assert home.point().call("GetExternalIPAddress") == {"NewExternalIPAddress": str(public)}
        home.point().add(8080)
        with EchoServer(home.console, TCP, 8080):
            assert reach(home.peer, TCP, public, 8080, timeout=REACHED_S).answered_by == "console"


def test_nothing_arrives(namespaces: None, tmp_path: Path) -> None:
    with page("symptoms/nothing-arrives.md") as symptom_page, symptom(tmp_path, CLOSED_FORWARD) as home:
        home.point().add(8080)
        with EchoServer(home.console, TCP, 8080):
            assert home.shut(8080)
            command = symptom_page.take("The port is in the list, but nothing arrives")
            assert until(lambda: connections(home.shell(command)) > 0, COUNTED_S)
            output = home.shell(symptom_page.take("It reaches the gateway"), check=False)
            assert shows(output, symptom_page.take("It reaches the gateway", "text"))
            bash(home.gateway, printed_lines(output, "nft insert rule inet filter forward ct status dnat"))
            assert home.reach(8080).answered_by == "console"


def test_it_vanishes(namespaces: None, tmp_path: Path) -> None:
    heading = "A port was open, and is gone"
    with page("symptoms/it-vanishes.md") as symptom_page, symptom(tmp_path) as home:
        home.point().add(8080)
        home.point("pc").add(51413, NewLeaseDuration=1)
        with EchoServer(home.console, TCP, 8080):
            command = symptom_page.take(heading)
            with home.lab.unplugged("console"):
                home.gateway.run(["ip", "neigh", "flush", "dev", "br-lan"])
                assert until(lambda: "parked" in home.shell(command), COUNTED_S)
                assert home.shut(8080)
            assert reach(home.console, TCP, home.gateway.address, 5000, timeout=REACHED_S).how == "closed", (
                "it is back"
            )
            assert until(lambda: "parked" not in home.shell(command), COUNTED_S)
            assert home.reach(8080)
        journal = tmp_path / "journal"
        assert until(lambda: any("ended:" in line for line in home.daemon.output))
        journal.write_text("\n".join(home.daemon.output).replace("m2 ", "m1 "))
        found = home.shell(
            f'journalctl() {{ [ "$3" = --grep ] && grep -- "$4" {journal}; }}\n{symptom_page.take(heading)}'
        )
        assert shows(found, symptom_page.take(heading, "text"))


def test_it_vanishes_lists_every_reason() -> None:
    text = (ROOT / "docs" / "symptoms" / "it-vanishes.md").read_text("utf-8")
    modules = sorted((ROOT / "upnp_gw" / "engine").glob("*.py"))
    ended = re.findall(r"end\([^()]*\"([\w-]+)\"\)", "".join(path.read_text("utf-8") for path in modules))
    assert len(set(ended)) >= 8
    assert {reason for reason in ended if f"| `{reason}` |" not in text} == set()


def test_page_not_found(namespaces: None, tmp_path: Path) -> None:
    with page("symptoms/page-not-found.md") as symptom_page, symptom(tmp_path, CLOSED) as home:
        command = symptom_page.take("The page does not open")
        assert "upnp-gw page is not running" in home.shell(command, check=False)
        with page_process(home, tmp_path) as running:
            home.gateway.run(["ln", "-s", str(running.directory), "/run/upnp-gw-page"])
            assert "http://127.0.0.1:5081/sign-in/" in home.shell(command)
            asked = "curl --silent --max-time 0.5 http://192.168.1.1:5080/"
            assert "Ports open" not in bash(home.pc, asked, check=False).stdout
            output = home.doctor()
            assert shows(output, symptom_page.take("The page does not open", "text"))
            bash(home.gateway, printed_lines(output, "nft insert rule inet filter input"))
            assert "Ports open to this device" in bash(home.pc, asked.replace("0.5", "5")).stdout
            told = {
                "This is not the name of the page": "-H 'Host: router.lan' http://192.168.1.1:5080/",
                "Not Found": "http://192.168.1.1:5080/nothing",
                "Sign in first: upnp-gw open.": "http://127.0.0.1:5081/",
            }
            for words, request in told.items():
                assert words in symptom_page.text
                host = home.gateway if "127.0.0.1" in request else home.pc
                assert words in bash(host, f"curl --silent --max-time 5 {request}").stdout
        assert "runs upnp-gw without its page" in bash(home.pc, "curl --silent http://192.168.1.1:5000/").stdout


def test_error_codes(namespaces: None, tmp_path: Path) -> None:
    with page("symptoms/error-codes.md") as symptom_page, symptom(tmp_path) as home:
        with refused(606):
            home.point().add(22)
        output = home.shell(symptom_page.take("A client gets an error code"))
        assert "forbidden by rule never-admin-ports" in output
        assert home.shut(22)


@pytest.mark.parametrize("refusal", Refusal)
def test_error_codes_of_every_refusal_are_listed(refusal: Refusal) -> None:
    text = (ROOT / "docs" / "symptoms" / "error-codes.md").read_text("utf-8")
    upnp, rest = text.split("## NAT-PMP")
    natpmp, pcp = rest.split("## PCP")

    def listed(section: str) -> set[int]:
        rows = re.findall(r"^\| ([\d, ]+)", section, re.MULTILINE)
        return {int(code) for row in rows for code in row.replace(",", " ").split()}

    assert {codes[refusal] for codes in REFUSALS.values()} <= listed(upnp)
    assert int(NATPMP_RESULTS[refusal]) in listed(natpmp)
    assert int(PCP_RESULTS[refusal]) in listed(pcp)
