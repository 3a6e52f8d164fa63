"""The longest lease of a ``[[never]]`` with ``unless``."""

import pytest

from tests.gate.proof.test_prove import proof
from upnp_gw.gate.proof.prove import Standing

NAS = '[device.nas]\nmac = ["00:11:32:00:00:02"]\n[[grant]]\nname = "a"\nwho = "nas"\n'
NIGHT = NAS + '[[forbid]]\nname = "night"\nhours = "22:00-06:00"\n'
LONG = '[limits]\nmax_ttl = "7d"\n' + NAS + 'hours = "mon,holidays"\n'


def never(lease: str, via: str = "pcp") -> str:
    return f'[[never]]\nfrom = {{ device = "nas", via = "{via}" }}\nunless = {{ lease = "{lease}" }}'


@pytest.mark.parametrize(
    ("lease", "via", "standing"),
    [
        ("16h", "pcp", Standing.HOLDS),
        ("15h", "natpmp", Standing.VIOLATED),
        ("16h", "igd1", Standing.VIOLATED),
    ],
)
def test_the_hours_of_a_forbid_cut_a_lease(lease: str, via: str, standing: Standing) -> None:
    """The gate decides again when they begin. Over UPnP the lease itself is not cut."""
    assert proof(never(lease, via), NIGHT).standing is standing


def test_a_forbid_of_other_ports_cuts_nothing() -> None:
    assert proof(never("16h"), NIGHT + "int_ports = [22]\n").standing is Standing.VIOLATED
    assert proof(never("16h"), NIGHT + "ext_ports = [2000]\n").standing is Standing.VIOLATED


@pytest.mark.parametrize(
    ("holidays", "lease", "standing"),
    [
        ("[2026-06-02]", "47h", Standing.VIOLATED),
        ("[2026-06-02]", "48h", Standing.HOLDS),
        ("[2026-06-03]", "24h", Standing.HOLDS),
        ('["03-03"]', "47h", Standing.VIOLATED),
        ('["03-03"]', "48h", Standing.HOLDS),
        ("[2026-06-02, 2026-06-03]", "71h", Standing.VIOLATED),
    ],
)
def test_hours_go_on_where_a_holiday_follows(holidays: str, lease: str, standing: Standing) -> None:
    """The kinds of the days after today count: Monday, then a holiday."""
    found = proof(never(lease), f"holidays = {holidays}\n" + LONG)
    assert found.standing is standing
