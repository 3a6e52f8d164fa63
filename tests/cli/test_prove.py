"""``policy prove --kernel``: its lines and exit codes, with a daemon that answers from a value."""

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.fixtures.fake_operator import served
from upnp_gw import api

PACKET = api.LetThrough(
    protocol="tcp",
    source="198.51.100.7",
    source_port=40000,
    destination="203.0.113.9",
    port=2222,
    host="192.168.1.10",
    host_port=22,
    lan="lan0",
    state="new",
)
OPEN = api.KernelFinding(
    fault="no-mapping", sentence="tcp from 198.51.100.7:40000 \x1b[31mreaches", packet=PACKET, rules=["inet a b"]
)
UNKNOWN = api.KernelFinding(fault="unknown", sentence="nothing is proved: table inet x cannot be read")
COUNTS = "(3 active mappings, 1 flow from outside)"


def proof(verdict: str, *findings: api.KernelFinding, shut: tuple[str, ...] = ()) -> api.KernelProof:
    return api.KernelProof(
        verdict=verdict,  # type: ignore[arg-type]
        findings=list(findings),
        mappings=3,
        shut=list(shut),
        flows=1,
        seconds=0.1,
    )


class Proving:
    """Answers with this proof."""

    def __init__(self, answer: api.KernelProof) -> None:
        self._answer = answer

    async def prove_kernel(self) -> api.KernelProof:
        return self._answer


@pytest.mark.parametrize(
    ("answer", "code", "lines"),
    [
        (
            proof("proved"),
            0,
            [f"proved: nothing from the WAN reaches a LAN host but by a mapping {COUNTS}"],
        ),
        (
            proof("open", OPEN, shut=("m7",)),
            1,
            [
                "open: tcp from 198.51.100.7:40000 \\x1b[31mreaches",
                "shut: no packet from the WAN comes through m7",
                f"not proved {COUNTS}",
            ],
        ),
        (
            proof("unknown", UNKNOWN),
            2,
            [
                "unknown: nothing is proved: table inet x cannot be read",
                f"not proved {COUNTS}",
            ],
        ),
    ],
    ids=["proved", "open", "unknown"],
)
def test_it_says_and_ends_by_the_verdict(
    tmp_path: Path, upnp_gw: Run, answer: api.KernelProof, code: int, lines: list[str]
) -> None:
    with served(tmp_path / "run", more=[Proving(answer)]):
        done = upnp_gw("policy", "prove", "--kernel")
    assert (done.exit_code, done.output.splitlines()) == (code, lines)
