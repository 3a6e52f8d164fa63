"""Questions in words."""

import pytest

from tests.fixtures.policies import policy_of
from upnp_gw.gate.proof.question import FORM, asked, in_words
from upnp_gw.model.errors import ConfigError

POLICY = policy_of(
    '[device.nas]\nmac = ["00:11:32:00:00:02"]\n[group]\nservers = ["nas"]\n[zone]\nguest = ["192.168.20.0/24"]\n'
)
QUESTIONS = [
    ("can guest open tcp 8443", {"zone": "guest"}, {"proto": "tcp", "int": [8443]}),
    ("Can the nas open 22,8000-8099?", {"device": "nas"}, {"int": [22, "8000-8099"]}),
    ("can anyone open udp", {}, {"proto": "udp"}),
    (
        "can not @servers open tcp 80 as 443 at 22:00-06:00",
        {"not": "@servers"},
        {"ext": [443], "at": "22:00-06:00"},
    ),
    (
        "can 192.168.1.7 open ip6 from 2001:db8::/32 over pcp",
        {"ip": "192.168.1.7", "via": "pcp"},
        {"family": "ip6"},
    ),
    ("can 00:11:32:00:00:02 open 80 for 192.168.1.9", {"mac": "00:11:32:00:00:02"}, {"for": "192.168.1.9"}),
]


@pytest.mark.parametrize(("words", "sender", "request_part"), QUESTIONS)
def test_a_question_is_a_never(words: str, sender: dict[str, object], request_part: dict[str, object]) -> None:
    tables = in_words(words, POLICY)
    assert tables[0] == sender
    assert tables[1].items() >= request_part.items()
    assert asked(tables, POLICY).name == "question"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("may guest open tcp", FORM),
        ("can guest open tcp somewhere", "'somewhere' is not understood"),
        ("can gast open tcp 22", "is nobody of this policy; accepted: anyone, an address, @servers, guest, nas"),
    ],
)
def test_what_is_not_understood_is_said(words: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        in_words(words, POLICY)
    assert message in str(error.value)


def test_a_port_that_is_none_is_an_error() -> None:
    with pytest.raises(ConfigError, match="70000"):
        asked(in_words("can guest open tcp 70000", POLICY), POLICY)
