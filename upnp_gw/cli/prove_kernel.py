"""``policy prove --kernel``: the running kernel lets in nothing but mappings, or names a packet."""

import sys
from pathlib import Path
from time import perf_counter

import msgspec

from upnp_gw import api
from upnp_gw.cli import formats
from upnp_gw.cli.client import REFUSED, DaemonClient, print_json
from upnp_gw.cli.run import configure
from upnp_gw.cli.terminal import BAD, CAUTION, GOOD, paint, print_text
from upnp_gw.model.errors import GatewayError
from upnp_gw.text.escape import shown

UNKNOWN = 2
LONGEST_SENTENCE = 1500
EXIT_CODES = {"proved": 0, "open": REFUSED, "unknown": UNKNOWN}


def prove_kernel(daemon: DaemonClient, as_json: bool, config_file: Path | None, given: dict[str, object]) -> int:
    """Proves the running kernel, prints the result, and returns the exit code. ``given``: options of the daemon."""
    if daemon.running():
        proof = msgspec.json.decode(daemon.request("GET", "/v1/policy/kernel"), type=api.KernelProof)
    else:
        options = {f"--{name.replace('_', '-')}": value for name, value in given.items()}
        proof = _proof_here(config_file, options)
    if as_json:
        print_json(api.encode(proof))
    else:
        _print(proof)
    return EXIT_CODES[proof.verdict]


def _proof_here(config_file: Path | None, options: dict[str, object]) -> api.KernelProof:
    """The proof while no daemon runs. Ends the command where it cannot be made."""
    from upnp_gw.control.kernel_proof import to_api
    from upnp_gw.doctor.stopped_daemon import prove_stopped
    from upnp_gw.firewall.libnftables import check_library

    began = perf_counter()
    try:
        config, _, _ = configure(config_file, options)
        check_library()
        return to_api(prove_stopped(config), perf_counter() - began)
    except GatewayError as error:
        print_text(f"not proved: {shown(str(error), LONGEST_SENTENCE)}", err=True)
        sys.exit(UNKNOWN)


def _print(proof: api.KernelProof) -> None:
    for finding in proof.findings:
        word = paint("unknown:", CAUTION) if finding.fault == "unknown" else paint("open:", BAD)
        print_text(f"{word} {shown(finding.sentence, LONGEST_SENTENCE)}", further="    ")
    for mapping in proof.shut:
        print_text(f"{paint('shut:', CAUTION)} no packet from the WAN comes through {shown(mapping)}")
    counts = (
        f"{formats.plural(proof.mappings, 'active mapping')}, {formats.plural(proof.flows, 'flow')} from outside"
    )
    if proof.verdict == "proved":
        print_text(f"{paint('proved', GOOD)}: nothing from the WAN reaches a LAN host but by a mapping ({counts})")
    else:
        print_text(f"not proved ({counts})")
