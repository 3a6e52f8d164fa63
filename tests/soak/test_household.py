"""The comparison of ledger, kernel and store, while the gateway goes on by itself."""

from typing import Any, cast

from tests.soak.household import FaultyDaemon, Household, Open
from upnp_gw.lab import Lab

OPEN = ("tcp", 8000, "192.168.77.40", 8000)


class ResumingHousehold(Household):
    """A device is back: its parked mapping opens again when the ledger has been read and the kernel has not.
    ``left_behind``: the kernel has it, and the ledger says that it is parked."""

    def __init__(self, left_behind: bool = False) -> None:
        super().__init__(cast(Lab, None), cast(FaultyDaemon, None))
        self.left_behind = left_behind
        self.resumed = False

    def rows(self) -> list[dict[str, Any]]:
        transport, port, client, internal = OPEN
        return [
            {
                "id": "m1",
                "transport": transport,
                "external_port": port,
                "internal_client": client,
                "internal_port": internal,
                "state": "active" if self.resumed else "parked",
            }
        ]

    def installed(self) -> dict[str, tuple[object, ...]]:
        self.resumed = not self.left_behind
        return {"m1": OPEN}

    def stored(self) -> Open:
        return {"m1": OPEN}


def test_a_mapping_that_resumes_between_two_readings_is_no_disagreement() -> None:
    assert ResumingHousehold().disagreement() == ""


def test_a_mapping_that_stays_in_the_kernel_while_it_is_parked_is_one() -> None:
    assert ResumingHousehold(left_behind=True).disagreement() == "in the kernel and not in the ledger: ['m1']"
