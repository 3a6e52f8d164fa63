"""Each key of miniupnpd.conf: the key of ours, a difference, or the reason why it is not carried."""

from typing import Any

import pytest

from tests.setup.dumps import interfaces
from upnp_gw.migration.miniupnpd_conf import read_miniupnpd
from upnp_gw.migration.remarks import Fate
from upnp_gw.migration.settings import Carried, Chosen, carry_settings

BOTH = "ext_ifname=eth0\nlistening_ip=br0\n"
YES, OTHER, NO = Fate.CARRIED, Fate.DIFFERENT, Fate.NOT_CARRIED


def carried(text: str, chosen: Chosen | None = None) -> Carried:
    return carry_settings(read_miniupnpd(text.encode(), "m.conf"), chosen or Chosen())


ROWS: dict[str, tuple[Fate, str, dict[str, Any]]] = {
    "ext_ifname=ppp0": (YES, '[wan] interface = "ppp0"', {"wan.interface": "ppp0"}),
    "ext_ifname=a name": (NO, "accepted here: ", {}),
    "ext_ifname6=eth0": (YES, "both families", {}),
    "ext_ifname6=sit0": (NO, "one WAN interface serves both families", {}),
    "ext_ip=203.0.113.4": (YES, '[wan] advertise = "203.0.113.4"', {"wan.advertise": "203.0.113.4"}),
    "ext_ip=224.0.0.1": (NO, "accepted here: an IPv4 address, not multicast", {"wan.advertise": None}),
    "listening_ip=": (NO, "accepted here: the name of an interface", {"lan.interfaces": ["br0"]}),
    "ext_ip=router.example": (NO, "accepted here: an IPv4 address", {}),
    "ext_allow_private_ipv4=yes": (YES, "[wan] refuse_private = false", {"wan.refuse_private": False}),
    "ext_allow_private_ipv4=on": (YES, 'reads "on" as no', {"wan.refuse_private": True}),
    "ext_perform_stun=yes": (NO, "no STUN server is asked", {"wan.refuse_private": None}),
    "ext_perform_stun=no": (YES, "no STUN server is asked", {}),
    "ext_stun_host=stun.example": (NO, "no STUN server is asked", {}),
    "listening_ip=br0 eth1": (OTHER, "its bridge has the other ones", {}),
    "listening_ip=br0 203.0.113.5": (OTHER, "the external address is the same for all LANs", {}),
    "listening_ip=127.0.0.1/8": (NO, "no LAN", {"lan.interfaces": ["br0"]}),
    "port=5000": (YES, "[upnp] http_port = 5000", {"upnp.http_port": 5000}),
    "http_port=0": (YES, "[upnp] http_port = 0", {"upnp.http_port": 0}),
    "http_port=70000": (NO, "accepted here: a TCP port", {"upnp.http_port": None}),
    "https_port=443": (NO, "over HTTP alone", {}),
    "friendly_name=Büro": (YES, 'friendly_name = "Büro"', {"upnp.friendly_name": "Büro"}),
    "friendly_name=": (NO, "accepted here: a text of 1 to 63", {}),
    "presentation_url=http://10.0.0.1/": (YES, "presentation_url", {"upnp.presentation_url": "http://10.0.0.1/"}),
    "presentation_url=": (OTHER, "status page", {"upnp.presentation_url": None}),
    "presentation_url=ftp://x": (NO, "accepted here: ", {"upnp.presentation_url": None}),
    "notify_interval=900": (YES, "max_age = 1800: twice the interval", {"upnp.max_age": 1800}),
    "notify_interval=60": (OTHER, "max_age = 1800: twice the interval; accepted", {"upnp.max_age": 1800}),
    "notify_interval=90000": (OTHER, "max_age = 86400", {"upnp.max_age": 86400}),
    "enable_natpmp=yes": (YES, 'natpmp and pcp = "on"', {"portcontrol.natpmp": "on", "portcontrol.pcp": "on"}),
    "enable_pcp_pmp=1": (YES, 'natpmp and pcp = "on"', {"portcontrol.pcp": "on"}),
    "enable_natpmp=yes # phone": (YES, 'reads "yes # phone" as no', {"portcontrol.natpmp": "off"}),
    "enable_upnp=yes": (YES, "always answered", {}),
    "enable_upnp=no": (OTHER, "the policy forbids each request over UPnP", {}),
    "ipv6_disable=yes": (YES, "no IPv6 pinhole", {}),
    "min_lifetime=600": (YES, "pcp_min_lifetime = 600", {"portcontrol.pcp_min_lifetime": 600}),
    "min_lifetime=30": (YES, "120: miniupnpd takes 120 at least", {"portcontrol.pcp_min_lifetime": 120}),
    "max_lifetime=3600": (YES, 'policy: [limits] max_ttl = "1h"', {}),
    "max_lifetime=604800": (YES, 'max_ttl = "1d": miniupnpd takes 86400 at most', {}),
    "max_lifetime=x": (NO, "accepted here: 1 to 86400", {}),
    "secure_mode=yes": (YES, "for itself only", {}),
    "secure_mode=on": (YES, "for itself only", {}),
    "secure_mode=no": (NO, "--for-others carries it", {}),
    "pcp_allow_thirdparty=yes": (NO, "--for-others carries it", {}),
    "pcp_allow_thirdparty=no": (YES, "for itself only", {}),
    "force_igd_desc_v1=yes": (YES, '[upnp] faces = ["igd1"]', {"upnp.faces": ["igd1"]}),
    "force_igd_desc_v1=no": (YES, "both versions", {"upnp.faces": None}),
    "uuid=1": (NO, "devices see a new gateway", {}),
    "anchor=miniupnpd": (NO, "pf and ipf", {}),
    "upnp_table_name=fw4": (NO, "table of their own", {}),
    "clean_ruleset_interval=600": (NO, "a mapping ends with its lease", {}),
    "secure_mod=no": (NO, "no such key; did you mean secure_mode?", {}),
    "inn\x85ifname=x": (NO, "no such key", {}),
}


@pytest.mark.parametrize("line", ROWS)
def test_each_line_has_a_remark(line: str) -> None:
    fate, why, values = ROWS[line]
    got = carried(f"{BOTH}{line}\n")
    remark = got.remarks[-1]
    assert (remark.line.number, remark.fate) == (3, fate)
    assert why in remark.why
    named = {".".join(place): value for place, value in got.values.items()}
    assert {key: named.get(key) for key in values} == values


def test_what_miniupnpd_does_without_a_line() -> None:
    got = carried(BOTH)
    assert got.values == {
        ("wan", "interface"): "eth0",
        ("lan", "interfaces"): ["br0"],
        ("portcontrol", "natpmp"): "off",
        ("portcontrol", "pcp"): "off",
        ("wan", "refuse_private"): True,
    }
    assert (got.upnp, got.ipv6, got.secure, got.third_party, got.missing) == (True, True, True, False, [])


def test_the_last_line_of_a_key_counts_and_lans_add_up() -> None:
    got = carried("ext_ifname=a\next_ifname=b\nlistening_ip=br0\nlistening_ip=br1\nlistening_ip=br0\n")
    assert got.values[("wan", "interface")] == "b"
    assert got.values[("lan", "interfaces")] == ["br0", "br1"]
    assert (got.remarks[0].fate, got.remarks[0].why) == (NO, "a later line sets it again")


def test_an_address_is_looked_up_on_this_machine() -> None:
    text = "ext_ifname=eth0\nlistening_ip=192.168.1.1/24\n"
    links = interfaces("eth0 11.0.0.2/24\nbr0 192.168.1.1/24")
    assert carried(text, Chosen(links=links)).values[("lan", "interfaces")] == ["br0"]
    elsewhere = carried(text)
    assert elsewhere.missing == ["the interface of listening_ip=192.168.1.1/24: --lan IF"]
    assert ("lan", "interfaces") not in elsewhere.values


def test_what_is_missing_is_named_and_answers_win() -> None:
    assert carried("").missing == ["the interface to the internet: --wan IF", "the interface of the LAN: --lan IF"]
    got = carried(BOTH, Chosen("ppp0", ("br7", "br8")))
    assert got.missing == []
    assert got.values[("wan", "interface")] == "ppp0"
    assert got.values[("lan", "interfaces")] == ["br7", "br8"]
    assert [remark.fate for remark in got.remarks] == [OTHER, OTHER]


def test_asking_for_others_is_carried_on_request() -> None:
    got = carried(f"{BOTH}secure_mode=no", Chosen(others=True))
    assert not got.secure
    assert got.remarks[-1].fate is YES


def test_lines_of_another_kind_have_a_remark() -> None:
    got = carried(f'{BOTH}set_learn_dscp "x" 46 46')
    assert (got.remarks[-1].fate, got.remarks[-1].line.number) == (NO, 3)
