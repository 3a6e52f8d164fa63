"""The address and the ports of an emulator."""

import socket
from contextlib import ExitStack

import pytest

from tests.testing.portable_client import add_port_mapping, datagram
from upnp_gw.model.errors import ConfigError
from upnp_gw.testing import Emulator
from upnp_gw.testing.options import Options

ADDRESS_REQUEST = b"\0\0"


def test_an_emulator_has_an_address_and_the_ports_of_the_standards() -> None:
    with Emulator() as one, Emulator() as other:
        assert one.gateway_address != other.gateway_address
        assert {one.pcp_address[1], other.pcp_address[1]} == {5351}
        assert {one.search_address[1], other.search_address[1]} == {1900}


def test_several_on_127_0_0_1_have_different_ports() -> None:
    """As on macOS, which has no other loopback address."""
    with ExitStack() as stack:
        emulators = [stack.enter_context(Emulator(address="127.0.0.1")) for _ in range(3)]
        for where in ("pcp_address", "search_address"):
            assert len({getattr(igd, where) for igd in emulators}) == 3
        for igd in emulators:
            assert datagram(igd.pcp_address, ADDRESS_REQUEST)[:4] == b"\0\x80\0\0"
            add_port_mapping(igd.control_url("WANIPConnection"), 8080)
            assert igd.mappings.one().internal_client == "127.0.0.1"


def test_the_ports_can_be_chosen_and_stay_after_a_reboot() -> None:
    with Emulator(address="127.0.0.1", pcp_port=0, search_port=0) as igd:
        chosen = igd.pcp_address[1], igd.search_address[1]
        http_port = int(igd.location.split(":")[2].partition("/")[0])
        assert not {5351, 1900} & set(chosen)
        igd.reboot()
        assert (igd.pcp_address[1], igd.search_address[1]) == chosen
    with Emulator(address="127.0.0.1", http_port=http_port, pcp_port=chosen[0], search_port=chosen[1]) as igd:
        assert igd.location == f"http://127.0.0.1:{http_port}/igd2.xml"
        assert (igd.pcp_address[1], igd.search_address[1]) == chosen


@pytest.mark.parametrize("option", ["pcp_port", "search_port", "http_port"])
def test_a_chosen_port_that_is_taken_is_an_error_of_the_start(option: str) -> None:
    kind = socket.SOCK_STREAM if option == "http_port" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if option == "http_port":
            taken.listen()
        port = taken.getsockname()[1]
        emulator = Emulator(address="127.0.0.1", **{option: port})
        with pytest.raises(ConfigError, match=rf"{option}: {port}: cannot .* \(Address already in use\); accepted"):
            emulator.start()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"address": "10.0.0.1"},
            r"address: 10\.0\.0\.1: accepted: an address of the loopback, such as 127\.0\.0\.1",
        ),
        ({"address": "home"}, "address: home: accepted: an address of the loopback"),
        ({"interface": "loo"}, r"interface: loo: has no IPv4 address here; did you mean lo\? accepted: .*lo"),
        ({"interface": "lo", "address": "10.0.0.1"}, r"address: 10\.0\.0\.1: accepted: 127\.0\.0\.1"),
    ],
)
def test_a_wrong_place_is_an_error_that_says_what_is_accepted(options: Options, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Emulator(**options).start()


def test_an_interface_is_served_by_its_name() -> None:
    with Emulator(interface="lo", pcp_port=0, search_port=0) as igd:
        assert igd.gateway_address == "127.0.0.1"
        add_port_mapping(igd.control_url("WANIPConnection"), 8080)
        assert len(igd.mappings) == 1
