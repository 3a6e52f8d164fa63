"""The tables of a network namespace and the chains of ours, asked without libnftables."""

from collections.abc import Iterator

import pytest

from upnp_gw.firewall import tables as module
from upnp_gw.firewall.tables import has_chain, tables
from upnp_gw.lab import Host
from upnp_gw.model.errors import FirewallError
from upnp_gw.system.netlink import InterruptedDump


@pytest.fixture
def bare(namespaces: None) -> Iterator[Host]:
    host = Host("bare")
    yield host
    host.close()


@pytest.mark.lab
def test_the_tables_are_those_that_nft_lists(bare: Host) -> None:
    assert bare.call(tables) == []
    bare.nft("add table inet upnp_gw\nadd table ip static\nadd table ip6 static\nadd table bridge other")
    assert bare.call(tables) == [("inet", "upnp_gw"), ("ip", "static"), ("ip6", "static")]


@pytest.mark.lab
def test_a_chain_of_our_own_table_alone_is_found(bare: Host) -> None:
    assert not bare.call(has_chain, "lookup")
    bare.nft("table inet other { chain lookup { }\n}\ntable ip upnp_gw { chain lookup { }\n}")
    assert not bare.call(has_chain, "lookup")
    bare.nft("table inet upnp_gw { chain lookup { }\n}")
    assert bare.call(has_chain, "lookup")
    assert not bare.call(has_chain, "input")


class _Forbidden:
    def __init__(self) -> None:
        raise PermissionError(1, "Operation not permitted")


class _Changing:
    """A socket whose dump is interrupted each time, by a table that changes."""

    def __enter__(self) -> "_Changing":
        return self

    def __exit__(self, *_: object) -> None: ...

    def dump(self, *_: object) -> object:
        raise InterruptedDump(4, "Interrupted system call")


@pytest.mark.parametrize(
    ("socket", "message"), [(_Forbidden, "needs CAP_NET_ADMIN"), (_Changing, "Interrupted system call")]
)
def test_a_failed_question_is_an_error(monkeypatch: pytest.MonkeyPatch, socket: type, message: str) -> None:
    monkeypatch.setattr(module, "NfnetlinkSocket", socket)
    with pytest.raises(FirewallError, match=message):
        tables()
    if socket is _Forbidden:
        assert not has_chain("lookup")
