"""The files of mode "router", and the sysctls of the next boot."""

from tests import ROOT
from upnp_gw.setup.system_files import closed_table, drop_in, kept_sysctls

EXAMPLES = ROOT / "examples" / "systemd"


def test_they_are_those_of_the_examples() -> None:
    assert closed_table(None, "eth0") == (EXAMPLES / "closed.nft").read_text("utf-8")
    assert drop_in() == (EXAMPLES / "upnp-gw-router.conf").read_text("utf-8")


def test_the_closed_table_has_the_wan_and_keeps_other_changes() -> None:
    text = closed_table(None, "ppp0")
    assert 'define WAN = "ppp0"' in text
    own = text.replace("table inet upnp_gw {", "# mine\ntable inet upnp_gw {", 1)
    assert closed_table(own, "eth7") == own.replace('"ppp0"', '"eth7"')
    assert closed_table("# emptied\n", "eth7") == closed_table(None, "eth7"), "without the line it shuts nothing"


def test_sysctls_are_added_and_replaced() -> None:
    text = kept_sysctls(None, ["sysctl -w net.ipv4.ip_forward=1", "sysctl -w net/ipv6/conf/eth0.7/accept_ra=2"])
    assert text == "# Written by upnp-gw setup.\nnet.ipv4.ip_forward = 1\nnet/ipv6/conf/eth0.7/accept_ra = 2\n"
    assert kept_sysctls(text, ["sysctl -w net.ipv4.ip_forward=1"]).count("ip_forward") == 1
    mine = "# mine\n-net.ipv4.ip_forward=0\nkernel.panic = 10\n"
    assert kept_sysctls(mine, ["sysctl -w net.ipv4.ip_forward=1"]) == (
        "# mine\nkernel.panic = 10\nnet.ipv4.ip_forward = 1\n"
    )
