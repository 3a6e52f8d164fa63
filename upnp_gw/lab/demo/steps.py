"""The steps of the demo, in order. Each returns its findings or raises NotProved."""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from upnp_gw.lab.demo.office import without_nat
from upnp_gw.lab.demo.report import StepFindings, output_columns
from upnp_gw.lab.demo.stage import Stage, control_point, require
from upnp_gw.lab.probe import REFUSED_S, EchoServer, reach
from upnp_gw.model.mapping import Transport

GAME = 3074
BRIEF = 3075
"""The port with the short lease."""
BY_PCP, BY_NATPMP, BY_PINHOLE = 4001, 4002, 4003
"""Ports of the other protocols."""
LEASE_S = 3600
BRIEF_LEASE_S = 4
KERNEL_GRACE_S = 40
"""Most seconds after its end that the kernel keeps a lease without the daemon."""
HOME_LIMIT = 8
"""Most mappings of an unnamed device by the home policy."""

WANTED = tuple(
    port
    for pair in zip(
        (22, 23, 25, 53, 80, 110, 135, 139, 443, 445, 587, 3389, 5900, 0),
        (1433, 3306, 4444, 5432, 5555, 6379, 6667, 8080, 8443, 9001, 9050, 12345, 27017, 31337),
        strict=True,
    )
    for port in pair
    if port
)
"""27 ports that malware uses: remote desktops, databases, back doors."""


REFERENCE = re.compile(r" \[d\d+\]$")


def reason_of(answer: Mapping[str, Any]) -> str:
    """Code and reason of a refusal, without the decision id."""
    return REFERENCE.sub("", f"{answer['code']} {answer['reason']}")


def start(stage: Stage) -> StepFindings:
    """The daemon starts as a router, and the console reaches the internet through it."""
    stage.daemon.start()
    console, peer = stage.lab.hosts["console"], stage.lab.hosts["peer1"]
    with EchoServer(peer, Transport.TCP, 443):
        proof = reach(console, Transport.TCP, peer.address, 443)
    require(proof.arrived, f"the console does not reach the internet: {proof.how}")
    require(proof.seen_from == stage.lab.external[0], f"the internet saw {proof.seen_from}")
    return StepFindings(
        [
            "$ upnp-gw " + " ".join(("run", *stage.daemon.options)),
            *(f"  {line}" for line in stage.daemon.output),
            f"a packet from the console to the internet: arrives, seen as {proof.seen_from}",
        ],
        {"output": list(stage.daemon.output), "seen_as": str(proof.seen_from)},
    )


def closed(stage: Stage) -> StepFindings:
    """No mapping exists, so no port is open, although the console's server is running."""
    pc, console = stage.lab.hosts["pc"], stage.lab.hosts["console"]
    for transport in Transport:
        inside = reach(pc, transport, console.address, GAME)
        require(inside.arrived, f"the console's own {transport} server does not answer on the LAN")
    lines = stage.closed(GAME)
    return StepFindings([f"the console listens on {GAME} (the PC beside it gets an answer), but:", *lines])


def discover(stage: Stage) -> StepFindings:
    gateway = stage.console.discover()
    expected = str(stage.lab.external[0])
    require(gateway.external_address == expected, f"the gateway says it is {gateway.external_address}")
    return StepFindings(
        [f"the console searches by multicast with {stage.console.client}:", *gateway.lines],
        {"client": stage.console.client, "location": gateway.location, "external": gateway.external_address},
    )


def ask(stage: Stage) -> StepFindings:
    lines = [f"  {stage.console.map(transport, GAME, LEASE_S)}" for transport in Transport]
    mappings = stage.daemon.json("list")
    decided = {m["decision"] for m in mappings}
    require(len(mappings) == len(decided) == 2, f"upnp-gw list shows {mappings}")
    arrivals = [stage.arrives(transport, GAME, "console") for transport in Transport]
    return StepFindings([*lines, *arrivals], {"decisions": sorted(decided)})


def infected(stage: Stage) -> StepFindings:
    """Of 27 requested ports at most eight are granted, and packets arrive at those only."""
    pc = stage.lab.hosts["pc"]
    actions = [f"add:tcp:{port}:{port}:{LEASE_S}" for port in WANTED]
    _, *answers = control_point(pc, str(pc.address), None, actions)
    granted = [port for port, answer in zip(WANTED, answers, strict=True) if answer["ok"]]
    refused: dict[str, list[int]] = defaultdict(list)
    for port, answer in zip(WANTED, answers, strict=True):
        if not answer["ok"]:
            refused[reason_of(answer)].append(port)
    require(0 < len(granted) <= HOME_LIMIT, f"the infected PC was granted {len(granted)} of {len(WANTED)} ports")
    with ExitStack() as servers, ThreadPoolExecutor(len(WANTED)) as pool:
        for port in WANTED:
            servers.enter_context(EchoServer(pc, Transport.TCP, port))
        proofs = list(pool.map(lambda port: stage.probe(Transport.TCP, port, timeout=1.0), WANTED))
    opened = [port for port, proof in zip(WANTED, proofs, strict=True) if proof.arrived]
    require(opened == granted, f"granted {granted}, but packets arrived at {opened}")
    devices = {row["device"]: row for row in stage.daemon.json("devices")}
    lines = [f"the infected PC asks for {len(WANTED)} ports and listens on each:"]
    lines += [f"granted {len(granted)}: {ports_of(granted)}"]
    lines += [f"refused {len(ports)}: {ports_of(ports)}: {reason}" for reason, ports in refused.items()]
    lines += [
        f"a packet from the internet to each of the {len(WANTED)}: {len(opened)} arrive, the granted ones",
        "So the home policy limits an infected PC; it does not stop it. The policy `locked` does.",
    ]
    return StepFindings(
        lines,
        {"asked": len(WANTED), "granted": granted, "refused": dict(refused), "device": devices.get(pc.mac)},
    )


def protocols(stage: Stage) -> StepFindings:
    """The console uses PCP, NAT-PMP and, for its IPv6 address, a pinhole."""
    console, peer = stage.lab.hosts["console"], stage.lab.hosts["peer1"]
    lines: list[str] = []
    with EchoServer(console, Transport.TCP, BY_PCP), EchoServer(console, Transport.UDP, BY_NATPMP):
        lines += stage.request("tcp", BY_PCP, "--via", "pcp")
        lines.append(stage.arrives(Transport.TCP, BY_PCP, "console"))
        lines += stage.natpmp(Transport.UDP, BY_NATPMP, LEASE_S)
        lines.append(stage.arrives(Transport.UDP, BY_NATPMP, "console"))
    with EchoServer(console, Transport.TCP, BY_PINHOLE):
        before = reach(peer, Transport.TCP, console.address6, BY_PINHOLE, timeout=REFUSED_S)
        require(not before.arrived, "the console's IPv6 address was open before the request")
        lines.append(f"a packet to [{console.address6}]:{BY_PINHOLE}: refused ({before.how})")
        lines += stage.request("tcp", BY_PINHOLE, "--ipv6")
        proof = reach(peer, Transport.TCP, console.address6, BY_PINHOLE)
        require(proof.answered_by == "console", f"no packet came through the pinhole: {proof.how}")
        require(proof.seen_from == peer.address6, f"the console saw {proof.seen_from}")
        lines.append(f"a packet to [{console.address6}]:{BY_PINHOLE}: arrives at console")
    vias = {m["external_port"]: m["via"] for m in stage.daemon.json("list")}
    seen = {port: vias.get(port) for port in (BY_PCP, BY_NATPMP, BY_PINHOLE)}
    require(seen == {BY_PCP: "pcp", BY_NATPMP: "natpmp", BY_PINHOLE: "pcp"}, f"upnp-gw list shows {seen}")
    return StepFindings(lines, {"via": seen})


def listing(stage: Stage) -> StepFindings:
    """The list that the operator sees, checked by packets."""
    mappings = stage.daemon.json("list")
    table = stage.daemon.cli("list", columns=output_columns()).stdout.splitlines()
    require(all(m["decision"] and m["expires_at"] for m in mappings), "a mapping has no decision or no end")
    for transport in Transport:
        listed = [m for m in mappings if (m["transport"], m["external_port"]) == (transport, GAME)]
        require(len(listed) == 1, f"{transport}/{GAME} is listed {len(listed)} times")
        stage.arrives(transport, GAME, "console")
    return StepFindings(["$ upnp-gw list", *(f"  {line}" for line in table)], {"mappings": mappings})


def lease(stage: Stage) -> StepFindings:
    """The daemon is killed during a short lease: the kernel keeps the port open, and closes it at the end."""
    console = stage.lab.hosts["console"]
    with EchoServer(console, Transport.UDP, BRIEF):
        printed = stage.console.map(Transport.UDP, BRIEF, BRIEF_LEASE_S)
        requested_at = time.monotonic()
        stage.arrives(Transport.UDP, BRIEF, "console")
        stage.daemon.kill()
        alive = stage.arrives(Transport.UDP, BRIEF, "console")
        deadline = requested_at + BRIEF_LEASE_S + KERNEL_GRACE_S
        while stage.probe(Transport.UDP, BRIEF).arrived:
            require(time.monotonic() < deadline, f"the port is still open {KERNEL_GRACE_S} s after its lease")
            time.sleep(0.2)  # the kernel has no event for the timeout of an element, so only a packet shows it
        ended = time.monotonic() - requested_at
        refused = stage.probe(Transport.UDP, BRIEF)
        require(not refused.arrived, "the port opened again")
    return StepFindings(
        [
            f"  {printed}",
            "the daemon is killed (SIGKILL); the kernel works without it:",
            alive,
            f"{ended:.0f} s after the request a packet to udp/{BRIEF} is refused ({refused.how})",
            "and the lease of an hour continues:",
            stage.arrives(Transport.UDP, GAME, "console"),
        ],
        {"lease_s": BRIEF_LEASE_S, "ended_after_s": round(ended, 1)},
    )


def restart(stage: Stage) -> StepFindings:
    """After a restart all running leases are there."""
    stage.daemon.start()
    ports = {(m["transport"], m["external_port"]) for m in stage.daemon.json("list")}
    require({("tcp", GAME), ("udp", GAME)} <= ports, f"after the restart only {sorted(ports)} are left")
    require(("udp", BRIEF) not in ports, "the lease that ended is back")
    return StepFindings(
        [
            f"the daemon starts again and has {len(ports)} mappings, each decided again",
            *(stage.arrives(transport, GAME, "console") for transport in Transport),
        ],
        {"mappings": len(ports)},
    )


def clean_up(stage: Stage) -> StepFindings:
    """The console and the operator delete all mappings, and the kernel has no table left."""
    for transport in Transport:
        stage.console.unmap(transport, GAME)
    lines = ["the console deletes its mappings:", *stage.closed(GAME)]
    stage.daemon.cli("delete", *(mapping["id"] for mapping in stage.daemon.json("list")))
    remaining = stage.daemon.json("list")
    require(remaining == [], f"upnp-gw list still shows {remaining}")
    code = stage.daemon.stop()
    require(code == 0, f"the daemon ended with code {code}:\n{stage.daemon.last_words()}")
    stage.daemon.cli("uninstall", "--yes")
    tables = stage.lab.gateway.run(["nft", "list", "tables"]).stdout.strip()
    require(tables == "", f"left in the kernel: {tables}")
    lines.append("the operator deletes the rest; daemon stopped, upnp-gw uninstall: no table left")
    return StepFindings(lines, {"tables": []})


STEPS: tuple[tuple[str, str, Callable[[Stage], StepFindings]], ...] = (
    ("start", "The gateway comes up: the real daemon on real nftables", start),
    ("closed", "Before any request, a packet from the internet is refused", closed),
    ("discover", "A real client finds the gateway", discover),
    ("ask", "The console asks for a port and gets it: packets arrive", ask),
    ("protocols", "The same over PCP, NAT-PMP and, for IPv6, a pinhole", protocols),
    ("infected", "An infected PC asks for everything", infected),
    ("list", "What the operator sees", listing),
    ("lease", "A short lease ends in the kernel, with the daemon dead", lease),
    ("restart", "Killed and started again, nothing granted is lost", restart),
    ("without-nat", "An office without NAT: two hosts have the same port outside", without_nat),
    ("clean-up", "Closed again, and nothing is left behind", clean_up),
)
"""Name, title, step."""


def ports_of(ports: list[int]) -> str:
    return " ".join(map(str, ports))
