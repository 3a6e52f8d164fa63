"""``upnp-gw lab``: real programs behind the gateway, and packets from the internet."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.lab.test_privilege import as_nobody
from upnp_gw.lab import Host
from upnp_gw.lab.program import run

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("namespaces")]

LAB = (sys.executable, "-m", "upnp_gw", "lab")
DESCRIPTION = "http://192.168.77.1:5000/igd1.xml"

SERVER = """
import os, socket, struct
server = socket.create_server(("", 8080))
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("", 8081))
gateway = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
gateway.connect(("192.168.77.1", 5351))
def map_port(opcode, port, lifetime):
    gateway.send(struct.pack("!BBHHHI", 0, opcode, 0, port, port, lifetime))
    gateway.recv(16)
map_port(2, 8080, 600)
map_port(1, 8081, 600)
print("from", server.accept()[1][0])
data, peer = datagrams.recvfrom(100)
datagrams.sendto(b"thanks", peer)
print("from", peer[0])
map_port(2, 8080, 0)
map_port(1, 8081, 0)
raise SystemExit(7)
"""


def lab(command: Sequence[str], *options: str, code: int = 0) -> tuple[Any, str]:
    """The report, and what the command printed."""
    argv = [*LAB, "--json", *options, "--", *command]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout), done.stderr


def test_a_server_that_maps_its_ports_is_reached_from_the_internet(tmp_path: Path) -> None:
    junit = tmp_path / "report.xml"
    report, printed = lab([sys.executable, "-c", SERVER], "--junit", str(junit), code=7)
    assert printed.splitlines() == ["from 11.50.1.10"] * 2
    assert report["exit_code"] == 7
    assert [
        (o["transport"], o["external"], o["internal"], o["arrived"], o["answer"]) for o in report["openings"]
    ] == [
        ("tcp", "11.22.33.44:8080", "192.168.77.10:8080", True, "accepted"),
        ("udp", "11.22.33.44:8081", "192.168.77.10:8081", True, "answered"),
    ]
    assert [(e["protocol"], e["answer"]) for e in report["exchanges"]] == [
        ("NAT-PMP", "port 8080 for 600 s"),
        ("NAT-PMP", "port 8081 for 600 s"),
        ("NAT-PMP", "deleted"),
        ("NAT-PMP", "deleted"),
    ]
    assert (report["mappings_left"], report["processes_left"], report["packets_lost"]) == ([], [], 0)
    suite = ElementTree.fromstring(junit.read_text())
    assert {name: suite.get(name) for name in ("tests", "failures", "skipped")} == {
        "tests": "3",
        "failures": "1",
        "skipped": "0",
    }


def test_what_upnpc_leaves_behind() -> None:
    """A mapping without a listener, one for a single remote host, a refusal, a pinhole and a process."""
    add = f"upnpc -u {DESCRIPTION} -e 'a & b' -a 192.168.77.10"
    script = [
        "sleep 100 &",
        f"{add} 8080 8080 TCP 600;",
        f"{add} 8081 8081 TCP 600 11.50.1.99;",
        f"{add} 22 22 TCP 600;",
        f"{sys.executable} -m upnp_gw request udp 8082 --ipv6 --ttl 10m --via pcp",
    ]
    report, _ = lab(["sh", "-c", " ".join(script)])
    openings = [(o["external"], o["internal"], o["arrived"], o["answer"]) for o in report["openings"]]
    assert openings == [
        ("11.22.33.44:8080", "192.168.77.10:8080", True, "refused"),
        ("11.22.33.44:8081", "192.168.77.10:8081", False, "not probed"),
        ("[2a11:2233:0:77::a]:8082", "[2a11:2233:0:77::a]:8082", True, "refused"),
    ]
    assert report["openings"][1]["note"] == "only 11.50.1.99 may connect"
    assert [left["mapping"] for left in report["mappings_left"]] == [o["mapping"] for o in report["openings"]]
    assert [process["name"] for process in report["processes_left"]] == ["sleep"]
    state = Path(f"/proc/{report['processes_left'][0]['pid']}/stat")
    assert not state.exists() or ") Z " in state.read_text(), "it has ended"
    adds = [e for e in report["exchanges"] if e["asked"] == "AddPortMapping"]
    assert [e["ok"] for e in adds] == [True, True, False]
    assert adds[0]["arguments"]["NewPortMappingDescription"] == "a & b"
    assert adds[2]["answer"].startswith("error 606 ")


def test_ctrl_c_ends_the_program_and_the_report_is_whole() -> None:
    script = "natpmpc -a 0 4000 udp 600 >/dev/null; echo ready; exec sleep 100"
    argv = ["env", "--default-signal=INT", *LAB, "--", "sh", "-c", script]  # a shell's background job ignores it
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGINT)
        _, report = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "ended with exit code 130" in report
    assert "-> 192.168.77.10:4000: a packet from the internet arrived" in report
    assert "-> 192.168.77.10:4000, lease " in report


def test_sigterm_is_for_the_program() -> None:
    script = "trap 'exit 5' TERM; echo ready; for _ in $(seq 400); do sleep 0.05; done"
    with subprocess.Popen([*LAB, "sh", "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.wait(60) == 5


class Signalled(Host):
    """A host whose first program is on its way when a signal comes."""

    def popen(self, argv: Sequence[str | os.PathLike[str]], **more: Any) -> "subprocess.Popen[str]":
        signal.raise_signal(signal.SIGTERM)
        return super().popen(argv, **more)


def test_a_signal_that_comes_while_the_program_is_started_reaches_it() -> None:
    ours: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: ours.append(number))
    host = Signalled("signalled")
    try:
        assert run.run_in(host, ["sleep", "10"], None) == 128 + signal.SIGTERM
    finally:
        host.close()
        signal.signal(signal.SIGTERM, before)
    assert ours == []


@pytest.mark.skipif(shutil.which("transmission-daemon") is None, reason="transmission-daemon is not installed")
def test_transmission_maps_its_port_and_takes_it_back(tmp_path: Path) -> None:
    """Debian's transmission-daemon, as its package has it. It logs its mapping and the datagram of the probe."""
    config = tmp_path / "settings"
    transmission = ["transmission-daemon", "-f", "-m", "--log-debug", "-P", "51413", "-g", str(config)]
    argv = [*LAB, "--json", "--", "timeout", "30", *transmission]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        expected = ["Forwarded", "UDP packet"]
        for line in process.stderr:
            expected = [words for words in expected if words not in line]
            if not expected:
                break
        process.terminate()
        output, log = process.communicate(timeout=60)
    report = json.loads(output)
    assert [(o["transport"], o["external"], o["arrived"]) for o in report["openings"]] == [
        ("tcp", "11.22.33.44:51413", True),
        ("udp", "11.22.33.44:51413", True),
    ], log
    assert report["openings"][0]["answer"] == "accepted"
    asked = [exchange["asked"] for exchange in report["exchanges"] if exchange["protocol"] == "IGD"]
    assert (asked.count("AddPortMapping"), asked.count("DeletePortMapping")) == (2, 2)
    assert report["mappings_left"] == []


def test_an_ordinary_user_has_the_same() -> None:
    words = ["upnp-gw", "lab", "--json", "natpmpc", "-a", "0", "4000", "udp", "600"]
    output = as_nobody(f"import sys; sys.argv = {words!r}; from upnp_gw.cli import main; main()")
    [opening] = json.loads(output)["openings"]
    assert opening["arrived"]


def test_a_policy_file_decides(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('version = 1\ndefault = "deny"\n')
    report, _ = lab(["natpmpc", "-a", "0", "4000", "udp", "600"], "--policy", str(policy), code=1)
    assert report["exchanges"][-1]["answer"] == "REFUSED"
    assert report["openings"] == []
    policy.write_text("version = 9\n")
    done = subprocess.run(
        [*LAB, "--policy", str(policy), "true"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 3
    assert "version" in done.stderr


def test_faults_are_answered_in_place_of_the_gateway() -> None:
    """A conflict once; a change that is made and not answered; multicast searches are answered as usual."""
    add = f"upnpc -u {DESCRIPTION} -a 192.168.77.10 8080 8080 TCP 600"
    script = f"{add}; {add}; timeout 1 natpmpc -a 0 4000 udp 600; upnpc -l"
    faults = ["--fault", "AddPortMapping=718,times=1", "--fault", "natpmp.map=silent,after"]
    report, printed = lab(["sh", "-c", script], *faults)
    assert "http://192.168.77.1:5000/igd1.xml" in printed
    adds = [e["answer"] for e in report["exchanges"] if e["asked"] == "AddPortMapping"]
    assert adds == ["error 718 ConflictInMappingEntry", "done"]
    [unanswered] = [e for e in report["exchanges"] if e["asked"].startswith("map udp")]
    assert (unanswered["answer"], unanswered["ok"]) == ("", False)
    assert unanswered["times"] > 1
    assert [left["internal"] for left in report["mappings_left"]] == ["192.168.77.10:8080", "192.168.77.10:4000"]


def test_a_mapping_that_the_firewall_does_not_have_is_listed_and_no_packet_arrives() -> None:
    add = f"upnpc -u {DESCRIPTION} -a 192.168.77.10 8080 8080 TCP 600"
    report, printed = lab(["sh", "-c", f"{add}; upnpc -u {DESCRIPTION} -l"], "--fault", "not-forwarding")
    assert "TCP  8080->192.168.77.10:8080" in printed
    assert [left["internal"] for left in report["mappings_left"]] == ["192.168.77.10:8080"]
    assert [(opening["arrived"], opening["external"]) for opening in report["openings"]] == [
        (False, "11.22.33.44:8080")
    ]


@pytest.mark.parametrize(
    ("fault", "message"),
    [("AddPortMaping=718", "did you mean 'AddPortMapping'?"), ("AddPortMapping", "accepted: ACTION=ANSWER")],
)
def test_a_mistake_in_a_fault_is_wrong_usage(fault: str, message: str) -> None:
    done = subprocess.run([*LAB, "--fault", fault, "true"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert message in done.stderr


def test_without_namespaces_a_line_says_how_to_allow_them() -> None:
    inner = f"echo 0 >/proc/sys/user/max_net_namespaces && exec {' '.join(LAB)} true"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", inner],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.stderr.startswith("unshare:"):
        pytest.skip("no user namespaces here")
    assert done.returncode == 2
    assert "not allowed to make network namespaces" in done.stderr
    assert done.stderr.splitlines()[-1] == "  docker run --privileged IMAGE"


def test_a_program_that_does_not_exist() -> None:
    done = subprocess.run([*LAB, "no-such-program"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (127, "upnp-gw lab: there is no program no-such-program\n")
