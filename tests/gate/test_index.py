"""The look-up tables of a policy find exactly the rules that a search through all of them would."""

from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.policies import policy_of as policy
from upnp_gw.gate.portset import contains

NAMES = ["a", "b", "c"]
whos = st.sampled_from(['"*"', '"a"', '["a", "b"]', '"@all"'])
ranges = st.tuples(st.integers(1, 30), st.integers(0, 9)).map(lambda pair: f'"{pair[0]}-{sum(pair)}"')
rules = st.lists(st.tuples(whos, st.lists(ranges, min_size=1, max_size=3)), max_size=6)


@given(rules, rules)
def test_every_port_of_every_device_finds_its_rules(
    grants: list[tuple[str, list[str]]], forbids: list[tuple[str, list[str]]]
) -> None:
    lines = [f'[device.{name}]\nip = "192.168.1.{n + 2}"' for n, name in enumerate(NAMES)]
    lines += ['[group]\nall = ["a", "b", "c"]']
    for kind, table in (("grant", grants), ("forbid", forbids)):
        for n, (who, ports) in enumerate(table):
            who_line = "" if kind == "forbid" and who == '"*"' else f"who = {who}"
            lines.append(f'[[{kind}]]\nname = "{kind}{n}"\n{who_line}\nint_ports = [{", ".join(ports)}]')
    made = policy("\n".join(lines))
    for port in range(1, 45):
        for device in [None, *NAMES]:
            some = made.grants_of_anyone if device is None else made.grants_of[device]
            expected = [g for g in made.grants if g.devices is None or device in g.devices]
            assert list(some.every) == expected
            assert list(some.at(port)) == [g for g in expected if contains(g.int_ports, port)]
            others = made.forbids_of_anyone if device is None else made.forbids_of[device]
            barred = [f for f in made.forbids if f.devices is None or device in f.devices]
            assert list(others.at(port)) == [f for f in barred if f.int_ports and contains(f.int_ports, port)]


def test_the_ends_of_the_ports() -> None:
    made = policy('[[grant]]\nname = "all"\nwho = "*"\nint_ports = ["1-65535"]')
    assert [len(made.grants_of_anyone.at(port)) for port in (0, 1, 65535, 65536)] == [0, 1, 1, 0]


def test_a_device_with_addresses_of_both_families_has_a_digest() -> None:
    two = '[device.a]\nip = ["192.168.1.40", "2001:db8::7"]'
    assert (
        policy(two).digest
        == policy(two.replace('"192.168.1.40", "2001:db8::7"', '"2001:db8::7", "192.168.1.40"')).digest
    )
    assert policy(two).digest != policy(two.replace("db8::7", "db8::8")).digest
