"""An identifier is found where it stands alone, and not in a longer one."""

import pytest

from upnp_gw.store.erasing import pattern_of

MAC = "02:00:00:00:00:77"


@pytest.mark.parametrize(
    ("names", "text", "found"),
    [
        ({"192.168.1.5"}, 'of 192.168.1.5, "x"', True),
        ({"192.168.1.5"}, "192.168.1.50", False),
        ({"192.168.1.5"}, "1192.168.1.5", False),
        ({"192.168.1.5"}, "192.168.1.5.example", False),
        ({"192.168.1.5"}, "asked by 192.168.1.5.", True),
        ({"2001:db8::5"}, "2001:db8::5:1", False),
        ({"2001:db8::5"}, "[2001:db8::5]:80", True),
        ({MAC}, f'{{"device": "{MAC}"}}', True),
        ({MAC}, MAC.upper().replace("A", "a"), True),
        ({MAC}, f"{MAC}:01", False),
        ({MAC}, f"{MAC}@lan1", False),
        ({MAC, f"{MAC}@lan0"}, f"{MAC}@lan0", True),
        ({f"{MAC}@lan0"}, f"{MAC}@lan01", False),
    ],
)
def test_names(names: set[str], text: str, found: bool) -> None:
    assert (pattern_of(names).search(text) is not None) is found
