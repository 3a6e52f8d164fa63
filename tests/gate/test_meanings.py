"""Every key of a policy has its meaning, and the defaults are those of the program."""

from datetime import date

from upnp_gw.gate.accepted import ACCEPTED
from upnp_gw.gate.load import load_text
from upnp_gw.gate.meanings import MEANINGS, TABLES
from upnp_gw.gate.schema import Limits

EMPTY = 'version = 1\n[device.ps5]\nmac = ["ac:89:95:00:00:01"]\n[[grant]]\nname = "g"\nwho = "*"\n'


def test_every_key_has_a_meaning() -> None:
    assert {table: set(keys) for table, keys in MEANINGS.items()} == {
        table: set(keys) for table, keys in ACCEPTED.items()
    }
    assert TABLES.keys() == MEANINGS.keys()
    assert all(meaning.endswith(".") for keys in MEANINGS.values() for _, meaning in keys.values())


def policy(text: str) -> object:
    return load_text(text, "text", date(2026, 5, 1)).policy


def test_the_limits_that_a_file_leaves_out_are_the_stated_ones() -> None:
    stated = {key: default for key, (default, _) in MEANINGS["limits"].items()}
    assert stated.pop("elements_per_device") == "four times per_device"
    lines = [f"{key} = {value if value.isdigit() else repr(value)}" for key, value in stated.items()]
    assert policy(EMPTY + "[limits]\n" + "\n".join(lines)) == policy(EMPTY)
    assert Limits().elements_per_device == 4 * Limits().per_device


def test_the_defaults_of_a_grant_are_the_stated_ones() -> None:
    said = {key: default for key, (default, _) in MEANINGS["grant"].items()}
    assert said["int_ports"] == "1024 to 65535"
    lines = f'int_ports = ["1024-65535"]\next = "{said["ext"]}"\napprove = {said["approve"]}\n'
    assert policy(EMPTY + lines + 'proto = ["tcp", "udp"]\nfamily = ["ip4", "ip6"]\n') == policy(EMPTY)
    assert policy(
        f'default = "{MEANINGS[""]["default"][0]}"\nmode = "{MEANINGS[""]["mode"][0]}"\n' + EMPTY
    ) == policy(EMPTY)
