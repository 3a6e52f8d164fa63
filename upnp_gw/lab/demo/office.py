"""The demo's step without NAT: an office in a lab of its own, whose hosts have public addresses."""

from contextlib import ExitStack

from upnp_gw.lab.daemon import COMMAND, LabDaemon
from upnp_gw.lab.demo.report import StepFindings
from upnp_gw.lab.demo.stage import Console, Stage, require
from upnp_gw.lab.host import Host
from upnp_gw.lab.lab import Lab
from upnp_gw.lab.probe import REFUSED_S, EchoServer, reach
from upnp_gw.lab.topology import OFFICE, Topology
from upnp_gw.model.mapping import Transport

WEB = 8443
LEASE_S = 3600


def without_nat(stage: Stage) -> StepFindings:
    """A second gateway, with ``--no-nat``: two hosts have the same port outside, each at its own address."""
    directory = stage.daemon.state_dir.parent / "office"
    options = ("--lan", OFFICE.interface, "--wan", "wan0", "--firewall", "router", "--no-nat")
    with Lab(Topology(lans=(OFFICE,))) as lab, ExitStack() as running:
        server, desk, peer = lab.hosts["server"], lab.hosts["desk"], lab.hosts["peer1"]
        daemon = running.enter_context(LabDaemon(lab.gateway, directory, *options))
        for host in (server, desk):
            running.enter_context(EchoServer(host, Transport.TCP, WEB))
        lines = ["$ upnp-gw " + " ".join(("run", *options))]
        lines += [_refused(peer, host) for host in (server, desk)]
        control_point = Console(server, server.address)
        gateway = control_point.discover()
        require(gateway.external_address == str(server.address), f"the server is told {gateway.external_address}")
        lines += [
            f"the server is told its own address: {gateway.external_address}",
            f"  {control_point.map(Transport.TCP, WEB, LEASE_S)}",
            _arrives(peer, server),
            _refused(peer, desk),
            *_request(desk, directory),
            _arrives(peer, desk),
            _arrives(peer, server),
        ]
        held = {(m["external_address"], m["external_port"], m["kind"]) for m in daemon.json("list")}
        wanted = {(str(host.address), WEB, "pinhole") for host in (server, desk)}
        require(held == wanted, f"upnp-gw list shows {held}")
        control_point.unmap(Transport.TCP, WEB)
        lines += ["the server deletes its own:", _refused(peer, server), _arrives(peer, desk)]
        daemon.stop()
    return StepFindings(lines, {"mappings": sorted(f"{address}:{port}" for address, port, _ in held)})


def _request(host: Host, state: object) -> list[str]:
    words = ("request", "tcp", str(WEB), "--via", "pcp")
    done = host.run([*COMMAND, *words], check=False, timeout=30, env={"XDG_STATE_HOME": f"{state}/{host.name}"})
    require(done.returncode == 0, f"upnp-gw request was refused: {done.stderr}")
    return [f"{host.name}$ upnp-gw " + " ".join(words), f"  {done.stdout.strip()}"]


def _refused(peer: Host, host: Host) -> str:
    proof = reach(peer, Transport.TCP, host.address, WEB, timeout=REFUSED_S)
    require(not proof.arrived, f"{host.address}:{WEB} is open")
    return f"a packet from the internet to {host.address}:{WEB}: refused ({proof.how})"


def _arrives(peer: Host, host: Host) -> str:
    proof = reach(peer, Transport.TCP, host.address, WEB)
    require(proof.answered_by == host.name, f"no packet came to {host.address}:{WEB}: {proof.how}")
    require(proof.seen_from == peer.address, f"{host.name} saw {proof.seen_from}")
    return f"a packet from the internet to {host.address}:{WEB}: arrives at {host.name}"
