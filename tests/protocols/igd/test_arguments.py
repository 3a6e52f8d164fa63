"""Arguments from text: strict, complete, and never looked up."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upnp_gw.model.mapping import Transport
from upnp_gw.protocols.igd import arguments
from upnp_gw.protocols.igd.arguments import InvalidArgument, read_arguments
from upnp_gw.protocols.igd.model import ArgumentModel, DataType
from upnp_gw.protocols.igd_services import IgdVersion

PORT = ArgumentModel("P", "P", DataType.UI2)
LEASE = ArgumentModel("L", "L", DataType.UI4)
FLAG = ArgumentModel("F", "F", DataType.BOOLEAN)
TEXT = ArgumentModel("T", "T", DataType.STRING)


def code_of(declared: list[ArgumentModel], sent: list[tuple[str, str]]) -> int:
    with pytest.raises(InvalidArgument) as caught:
        read_arguments(declared, sent)
    return caught.value.fault.code


@pytest.mark.spec("IGD-079")
@pytest.mark.parametrize("word", ["1", "true", "yes", "TRUE", "Yes", " 1\n"])
def test_true(word: str) -> None:
    assert read_arguments([FLAG], [("F", word)]).flag("F") is True


@pytest.mark.spec("IGD-079")
@pytest.mark.parametrize("word", ["0", "false", "no", "False", "NO", "\t0"])
def test_false(word: str) -> None:
    assert read_arguments([FLAG], [("F", word)]).flag("F") is False


@pytest.mark.spec("SR-15")
@pytest.mark.parametrize("word", ["", "2", "on", "01", "\u0661", "truee"])
def test_no_boolean(word: str) -> None:
    assert code_of([FLAG], [("F", word)]) == 402


@pytest.mark.spec("SR-17")
@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("65535", 65535), (" 80 ", 80), ("\r\n\t80", 80), ("00080", 80)]
)
def test_numbers(text: str, number: int) -> None:
    assert read_arguments([PORT], [("P", text)]).number("P") == number


@pytest.mark.spec("SR-17", "IGD-078", "IGD-127")
@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "x",
        "-1",
        "+1",
        "1_000",
        "1.0",
        "1e3",
        "0x50",
        "000080",
        "123456",
        "8 0",
        "\u0661\u0662",
        "\uff18",
        "80\u00a0",
    ],
)
def test_no_number(text: str) -> None:
    assert code_of([PORT], [("P", text)]) == 402


@pytest.mark.spec("IGD-127", "SR-17")
def test_out_of_the_range_of_its_type() -> None:
    assert code_of([PORT], [("P", "65536")]) == 601
    assert code_of([LEASE], [("L", "4294967296")]) == 601
    assert read_arguments([LEASE], [("L", "4294967295")]).number("L") == 2**32 - 1


@pytest.mark.spec("SR-17")
@given(st.text(max_size=8))
def test_a_port_is_the_number_of_its_ascii_digits_or_refused(text: str) -> None:
    try:
        number = read_arguments([PORT], [("P", text)]).number("P")
    except InvalidArgument:
        return
    digits = text.strip(" \t\r\n")
    assert digits.isascii()
    assert digits.isdigit()
    assert len(digits) <= 5
    assert number == int(digits) <= 65535


@pytest.mark.spec("SR-17")
@given(st.integers(0, 65535))
def test_every_port_is_read(number: int) -> None:
    assert read_arguments([PORT], [("P", str(number))]).number("P") == number


@pytest.mark.spec("SR-15", "IGD-074", "IGD-075", "IGD-076")
def test_missing_duplicate_extra_and_order() -> None:
    assert code_of([PORT, TEXT], [("P", "1")]) == 402
    assert code_of([PORT], [("P", "1"), ("P", "1")]) == 402
    found = read_arguments([PORT, TEXT], [("T", " as it is "), ("Other", "x"), ("P", "1"), ("Other", "x")])
    assert (found.number("P"), found.text("T")) == (1, " as it is ")


@pytest.mark.spec("IGD-123", "IGD-124")
def test_protocols() -> None:
    for igd_version in IgdVersion:
        assert arguments.transport(igd_version, " tcp ") is Transport.TCP
        assert arguments.transport(igd_version, "UDP") is Transport.UDP
        for word in ("", "ICMP", "6", "TCP,UDP", "tc\u017f", "any"):
            with pytest.raises(InvalidArgument) as caught:
                arguments.transport(igd_version, word)
            assert caught.value.fault.code == (601 if igd_version is IgdVersion.IGD2 else 402)


@pytest.mark.spec("IGD-120")
def test_remote_hosts_that_mean_anyone() -> None:
    for word in ("", "*", "0.0.0.0", " \n"):
        assert arguments.remote_host(IgdVersion.IGD2, word) is None
    assert str(arguments.remote_host(IgdVersion.IGD1, " 203.0.113.9 ")) == "203.0.113.9/32"


NO_ADDRESSES = [
    "localhost",
    "example.org",
    "192.168.77.10:80",
    "192.168.77",
    "192.168.077.010",
    "0x7f.1",
    "::1",
    "1",
    "192.168.77.10/32",
    "\u0661.2.3.4",
    "a" * 4000,
]


@pytest.mark.spec("SR-16", "IGD-126")
@pytest.mark.parametrize("word", NO_ADDRESSES)
def test_names_are_refused_and_never_looked_up(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: object) -> None:
        raise AssertionError("a name was looked up")

    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "socket"):
        monkeypatch.setattr(socket, name, look_up)
    for reader in (arguments.remote_host, arguments.internal_client):
        for igd_version, code in ((IgdVersion.IGD1, 402), (IgdVersion.IGD2, 600)):
            with pytest.raises(InvalidArgument) as caught:
                reader(igd_version, word)
            assert caught.value.fault.code == code


@pytest.mark.spec("IGD-125")
def test_internal_client_empty() -> None:
    for igd_version in IgdVersion:
        for word in ("", "  "):
            with pytest.raises(InvalidArgument) as caught:
                arguments.internal_client(igd_version, word)
            assert caught.value.fault.code == 715


@pytest.mark.spec("IGD-126")
@pytest.mark.parametrize("word", ["0.0.0.0", "224.0.0.1", "239.255.255.250"])
def test_internal_client_that_no_host_has(word: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        arguments.internal_client(IgdVersion.IGD2, word)
    assert caught.value.fault.code == 600


@pytest.mark.spec("IGD-141")
def test_descriptions_up_to_256_characters() -> None:
    assert arguments.description("\u00e9" * 256) == "\u00e9" * 256
    with pytest.raises(InvalidArgument) as caught:
        arguments.description("x" * 257)
    assert caught.value.fault.code == 605
