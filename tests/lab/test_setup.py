"""``upnp-gw setup`` on machines of the lab: it writes files, and a daemon serves with them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests import ROOT
from tests.fixtures.lab_firewall import MASQUERADE
from tests.lab.dialogue import Dialogue
from tests.lab.end_to_end import TCP, UDP, Home
from tests.lab.igd_control_point import Fault
from upnp_gw.lab import GUEST, HOME, OFFICE, Host, Lab, Topology
from upnp_gw.lab.daemon import COMMAND, LabDaemon
from upnp_gw.lab.probe import EchoServer, reach

pytestmark = pytest.mark.lab


@dataclass
class Machine:
    """A machine that is set up: the gateway of a lab, and a directory for its files."""

    host: Host
    directory: Path
    told: list[str] = field(default_factory=list)

    @property
    def config(self) -> Path:
        return self.directory / "etc" / "config.toml"

    @property
    def policy(self) -> Path:
        return self.directory / "etc" / "policy.toml"

    def argv(self, *options: str) -> list[str]:
        places = ("--config-dir", str(self.directory / "etc"), "--runtime-dir", str(self.directory / "run"))
        return [*COMMAND, "setup", *places, *options]

    def set_up(self, *options: str, code: int = 0) -> str:
        """Runs it without a terminal. Returns all that it printed."""
        done = self.host.run(self.argv(*options), check=False, env={"COLUMNS": "200"})
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def files(self) -> dict[str, str]:
        return {path.name: path.read_text("utf-8") for path in (self.directory / "etc").glob("*")}

    def daemon(self) -> LabDaemon:
        return LabDaemon(self.host, self.directory, "--config", str(self.config))


def serves(lab: Lab, daemon: LabDaemon, port: int = 8080) -> bool:
    """True if a client maps a port and a packet from the internet arrives."""
    home = Home(lab, daemon)
    with EchoServer(home.console, TCP, port):
        home.point().add(port)
        return home.reach(port).answered_by == "console"


def test_a_bare_machine_becomes_a_router_and_another_run_changes_nothing(namespaces: None, tmp_path: Path) -> None:
    with Lab(Topology()) as lab:
        machine = Machine(lab.gateway, tmp_path)
        told = machine.set_up("--yes")
        assert f"To start the gateway: upnp-gw run --config {machine.config}" in told
        written = machine.files()
        assert set(written) == {"config.toml", "policy.toml"}
        with machine.daemon() as daemon:
            assert daemon.json("status")["firewall"] == "router"
            assert serves(lab, daemon)
            again = machine.set_up("--yes")
            assert again.count("nothing to change") == 2
            assert f"The gateway runs (pid {daemon.pid})." in again
            assert "wrote" not in again
            assert machine.files() == written, "and no copy"

            told = machine.set_up("--yes", "--policy", "locked")
            assert f"In force: {machine.policy}" in told, "the new policy is loaded"
            with pytest.raises(Fault):
                Home(lab, daemon).point("pc").add(9090)
            assert len(machine.files()) == 3
            assert f"the old file is {machine.policy}." in told

            told = machine.set_up("--yes", "--firewall", "beside")
            assert f"The gateway runs (pid {daemon.pid}). The new configuration needs a restart" in told
            assert daemon.json("status")["firewall"] == "router"


def test_a_policy_that_fails_its_tests_is_not_written(namespaces: None, tmp_path: Path) -> None:
    with Lab(Topology()) as lab:
        machine = Machine(lab.gateway, tmp_path)
        (tmp_path / "etc").mkdir()
        wrong = 'version = 1\n[[test]]\nname = "t"\nfrom = { ip = "192.168.77.10" }\nwant = "allow"\n'
        machine.policy.write_text(wrong + "request = { proto = 'tcp', int = 8080 }\n")
        told = machine.set_up("--yes", code=2)
        assert f"{machine.policy}:" in told
        assert "Traceback" not in told
        assert set(machine.files()) == {"policy.toml"}


OWN_FIREWALL = """
table inet mine {
  chain input { type filter hook input priority filter; policy drop;
    ct state established,related accept
    iifname "lo" accept
    iifname "lan0" tcp dport 22 accept
    meta l4proto { icmp, ipv6-icmp } accept
  }
  chain forward { type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "lan0" accept
  }
}
"""


def test_beside_rules_of_the_operator_the_doctors_commands_make_it_work(namespaces: None, tmp_path: Path) -> None:
    with Lab(Topology()) as lab:
        machine = Machine(lab.gateway, tmp_path)
        lab.gateway.nft(MASQUERADE + OWN_FIREWALL)
        told = machine.set_up("--yes")
        assert 'mode = "alongside"' in machine.files()["config.toml"]
        assert "forwarded packets are filtered and masqueraded by rules of your own" not in told, "nobody is asked"
        assert "$ " not in told, "--yes alone runs nothing"
        before = lab.gateway.run(["nft", "list", "ruleset"]).stdout
        assert "other tables: chain inet mine forward (policy drop) drops mapped traffic" in told
        told = machine.set_up("--yes", "--fix")
        assert "$ nft insert rule inet mine forward ct status dnat accept\n  done" in told
        assert "$ sysctl -w net.ipv4.ip_forward=1\n  net.ipv4.ip_forward = 1\n  done" in told
        assert "The doctor checked again:" in told
        assert "FAIL" not in told.partition("The doctor checked again:")[2]
        assert lab.gateway.run(["nft", "list", "ruleset"]).stdout != before
        with machine.daemon() as daemon:
            assert serves(lab, daemon)


UFW = "".join(
    f"""
{program} -N {name}-before-forward
{program} -N {name}-user-input
{program} -P INPUT DROP
{program} -P FORWARD DROP
{program} -A INPUT -i lo -j ACCEPT
{program} -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
{program} -A INPUT -j {name}-user-input
{program} -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
{program} -A FORWARD -j {name}-before-forward
"""
    for program, name in (("iptables", "ufw"), ("ip6tables", "ufw6"))
)
DOCKER = """
iptables -N DOCKER
iptables -N DOCKER-USER
iptables -P FORWARD DROP
iptables -A FORWARD -j DOCKER-USER
iptables -A FORWARD -o docker0 -j DOCKER
iptables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
iptables -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
ip link add docker0 type bridge
ip addr add 172.17.0.1/16 dev docker0
ip link set docker0 up
"""


def test_chains_of_ufw_and_docker_are_named_and_a_command_that_fails_is_told(
    namespaces: None, tmp_path: Path
) -> None:
    with Lab(Topology()) as lab:
        machine = Machine(lab.gateway, tmp_path)
        lab.gateway.run(["sh", "-e"], text=UFW)
        told = machine.set_up("--yes", "--firewall", "own", code=2)
        assert '--firewall: got "own"; accepted: beside; own does not start where ufw filters' in told
        lab.gateway.run(
            ["sh", "-e"],
            text=DOCKER.replace("-N DOCKER-USER", "-N DOCKER-USER").replace("iptables -P FORWARD DROP\n", ""),
        )
        told = machine.set_up("--yes", "--fix", code=1)
        assert "note: no firewall of this machine masquerades lan0" in told, "Docker does for its own hosts"
        assert "docker0  172.17.0.1/16, container" in told
        assert "$ ufw allow in on lan0 proto udp to any port 1900,5351\n" in told
        assert "failed, exit code 127" in told, "ufw is not installed here"
        assert "$ iptables -I DOCKER-USER -o lan0 -m conntrack --ctstate DNAT -j ACCEPT\n  done" in told


def test_doubts_write_nothing_and_a_dry_run_neither(namespaces: None, tmp_path: Path) -> None:
    """More wrong input: tests/cli/test_setup.py."""
    with Lab(Topology(lans=(HOME, GUEST))) as lab:
        machine = Machine(lab.gateway, tmp_path)
        told = machine.set_up("--yes", code=2)
        both = "lan0 (192.168.77.1/24), lan1 (192.168.88.1/24); name it: --lan lan0 or --lan lan1"
        assert f"LAN: 2 interfaces could be the LAN: {both}" in told
        assert "setup asks questions, and this is no terminal" in machine.set_up("--lan", "lan0", code=2)
        told = machine.set_up("--dry-run", "--lan", "lan0")
        assert "Nothing was written (--dry-run)." in told
        assert '[lan]\n  interfaces = ["lan0"]' in told
        assert not (tmp_path / "etc").exists()


def test_guests_open_nothing_and_the_home_lan_does(namespaces: None, tmp_path: Path) -> None:
    with Lab(Topology(lans=(HOME, GUEST))) as lab:
        machine = Machine(lab.gateway, tmp_path)
        machine.set_up("--yes", "--lan", "lan0", "--lan", "lan1:guests", "--page", "off")
        with machine.daemon() as daemon:
            assert serves(lab, daemon)
            with pytest.raises(Fault):
                Home(lab, daemon).point("guest").add(8081)
            assert "guests-open-nothing" in daemon.cli("log", "--verdict", "deny").stdout


def test_a_lan_of_public_addresses_has_no_nat(namespaces: None, tmp_path: Path) -> None:
    with Lab(Topology(lans=(replace(HOME, interface="lan0"), OFFICE))) as lab:
        machine = Machine(lab.gateway, tmp_path)
        machine.set_up("--yes", "--lan", "lan0 lan1")
        assert '[[lan]]\ninterfaces = ["lan1"]\nnat = false' in machine.files()["config.toml"]
        with machine.daemon() as daemon:
            home, server = Home(lab, daemon), lab.hosts["server"]
            with EchoServer(server, UDP, 5000):
                home.point("server").add(5000, UDP)
                assert reach(home.peer, UDP, server.address, 5000).answered_by == "server"
            assert serves(lab, daemon), "the home LAN is translated"


@pytest.fixture(scope="module")
def machine(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine for tests that write nothing."""
    with Lab(Topology()) as lab:
        yield Machine(lab.gateway, tmp_path_factory.mktemp("m"))


def test_a_user_who_may_not_write_is_told_before_the_questions(machine: Machine) -> None:
    argv = ["setpriv", "--reuid", "65534", "--clear-groups", *COMMAND, "setup", "--yes"]
    machine.directory.chmod(0o755)
    done = machine.host.run([*argv, "--config-dir", "/etc/upnp-gw-of-nobody"], check=False, cwd="/")
    assert done.returncode == 2, done.stderr
    assert "Use: sudo upnp-gw setup" in done.stderr
    assert done.stdout == ""


QUESTIONS = ("WAN [wan0]: ", "LAN [lan0]: ", "Firewall [own]: ", "Policy [home]: ", "Page [own ssh]: ")


def test_ctrl_c_at_each_question_leaves_nothing(machine: Machine) -> None:
    for last in (*QUESTIONS, "Write this? [Y/n]: "):
        with Dialogue(machine.host, machine.argv()) as person:
            for question in (*QUESTIONS, "Write this? [Y/n]: "):
                person.sees(question)
                if question == last:
                    break
                person.types("")
            person.interrupts()
            assert person.ends() == 1
            assert "Aborted!" in person.text
        assert machine.files() == {}
    with Dialogue(machine.host, machine.argv()) as person:
        for question in QUESTIONS:
            person.sees(question)
            person.types("")
        person.sees("Write this? [Y/n]: ")
        person.types("n")
        assert person.ends() == 1
    assert machine.files() == {}


def test_a_person_answers_and_wrong_answers_are_asked_again(namespaces: None, tmp_path: Path) -> None:
    with Lab(Topology()) as lab:
        machine = Machine(lab.gateway, tmp_path)
        lab.gateway.nft(MASQUERADE)
        with Dialogue(lab.gateway, machine.argv("--policy", "ask"), columns=100) as person:
            person.sees("1 of 4.")
            person.sees("wan0: it has the IPv4 default route.")
            person.sees("WAN [wan0]: ")
            person.types("docker0")
            person.sees('got "docker0"; accepted: wan0')
            person.sees("WAN [wan0]: ")
            person.types("wan0")
            person.sees("LAN [lan0]: ")
            person.types("lan0:gusts")
            person.sees('got ":gusts"; accepted: :guests, :nat or :no-nat after the name')
            person.types("")
            person.sees("forwarded packets are masqueraded by rules of your own")
            person.sees("Firewall [beside]: ")
            person.types("")
            person.sees("4 of 4.")
            person.sees("Page [own ssh]: ")
            person.types("all lan")
            person.sees('listen = "192.168.77.1:5081"')
            person.sees("Write this? [Y/n]: ")
            person.types("")
            person.sees(
                "forwarding: IPv4 is not forwarded: no mapping can work\n  sysctl -w net.ipv4.ip_forward=1\n"
            )
            person.sees("Run this now? [y/N]: ")
            person.types("")
            assert person.ends() == 0
        assert "$ " not in person.text, "nothing was run without a yes"
        assert lab.gateway.sysctl("net/ipv4/ip_forward") == "0"
        with Dialogue(lab.gateway, machine.argv()) as person:
            for question in (
                "WAN [wan0]: ",
                "LAN [lan0]: ",
                "Firewall [beside]: ",
                "Policy [keep]: ",
                "Page [all lan]: ",
            ):
                person.sees(question)
                person.types("")
            person.sees("Run this now? [y/N]: ")
            person.types("y")
            person.sees("$ sysctl -w net.ipv4.ip_forward=1")
            person.sees("done")
            assert person.ends() == 0
        assert "Write this?" not in person.text, "nothing changes"
        assert lab.gateway.sysctl("net/ipv4/ip_forward") == "1"
        with machine.daemon() as daemon:
            home = Home(lab, daemon)
            with pytest.raises(Fault):
                home.point("pc").add(8080)
            daemon.cli("approve", "1", "--for", "1h")
            with EchoServer(home.pc, TCP, 8080):
                assert home.reach(8080).answered_by == "pc"


def test_a_wan_behind_another_router_is_double_nat(machine: Machine) -> None:
    machine.host.ip(
        "addr add 192.168.9.44/24 dev wan0",
        "addr del 11.22.33.44/24 dev wan0",
        "route replace default via 192.168.9.1 dev wan0",
    )
    told = machine.set_up("--dry-run")
    assert "note: double NAT: the address 192.168.9.44 of wan0 is private (RFC 1918)." in told


def test_a_machine_with_one_interface_is_told_what_it_can_be(machine: Machine) -> None:
    machine.host.ip("link del lan0")
    told = machine.set_up("--yes", code=2)
    assert "This machine has one network interface" in told
    assert "upnp-gw request asks the router of this network" in told
    machine.host.ip("link add docker0 type bridge", "addr add 172.17.0.1/16 dev docker0", "link set docker0 up")
    told = machine.set_up("--yes", code=2)
    assert "LAN: no interface is surely the LAN: docker0 (container); name it: --lan docker0" in told
    assert 'got "docker0"; accepted: an interface that leads to the internet' in machine.set_up(
        "--yes", "--wan", "docker0", code=2
    )
    assert machine.files() == {}


def printed_blocks() -> list[str]:
    """The dialogues in docs/setup.md."""
    page = (ROOT / "docs" / "setup.md").read_text("utf-8")
    return re.findall(r"^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_the_page_shows_the_dialogue_as_it_is_printed(namespaces: None, tmp_path: Path) -> None:
    """The places of line ends apart: they depend on the directory. ``...`` stands for lines that are left out."""
    whole, run = printed_blocks()
    with Lab(Topology(lans=(replace(HOME, interface="br-lan"),), wan="eth0")) as lab:
        machine = Machine(lab.gateway, tmp_path)
        with Dialogue(lab.gateway, machine.argv()) as person:
            for label in re.findall(r"(?<=   )\w+ \[.*\]:", whole):
                person.sees(label)
                person.types("")
            person.sees("Write this? [Y/n]:")
            person.types("")
            assert person.ends() == 0
        lab.gateway.nft(MASQUERADE.replace("wan0", "eth0"))
        with Dialogue(lab.gateway, machine.argv("--firewall", "beside", "--page", "own")) as other:
            for label in ("WAN [eth0]:", "LAN [br-lan]:", "Policy [keep]:", "Write this? [Y/n]:"):
                other.sees(label)
                other.types("")
            other.sees("Run this now? [y/N]:")
            other.types("y")
            assert other.ends() == 0
        for block, dialogue in ((whole, person), (run, other)):
            printed = " ".join(dialogue.text.replace(str(tmp_path / "etc"), "/etc/upnp-gw").split())
            for part in block.split("\n...\n"):
                assert " ".join(part.split()) in printed
