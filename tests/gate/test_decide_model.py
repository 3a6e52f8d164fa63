"""``decide`` against a reference model of eighty lines, and the laws that hold for every policy."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.address_lists import ListsInMemory
from tests.fixtures.examples import examples
from tests.fixtures.policies import GUEST, PC, PC6, PC_MAC, ROUTED, TV, TV_MAC, facts_of, map_request
from upnp_gw.gate.build import build_policy
from upnp_gw.gate.decide import decide
from upnp_gw.gate.decision import Facts, HeldMappings, Outcome
from upnp_gw.gate.expected import remote_hosts
from upnp_gw.gate.index import with_indexes
from upnp_gw.gate.schema import Policy
from upnp_gw.model.mapping import Endpoint, IPAddress, Transport, Via
from upnp_gw.model.request import MapRequest, PortChoice, Refusal

Rule = dict[str, Any]
PORTS = [22, 443, 1024, 3074, 5900, 40000]
NAMED = {"pc": PC_MAC, "tv": TV_MAC}
ZONES = {"guest": ["192.168.20.0/24"], "main": ["192.168.1.0/24", "2001:db8:1::/64"]}
SENDERS: list[tuple[IPAddress, str | None]] = [
    (PC, PC_MAC),
    (PC6, PC_MAC),
    (TV, TV_MAC),
    (GUEST, None),
    (ROUTED, None),
    (PC, "02:00:00:00:00:99"),
]

LISTS = {
    "bots": ["203.0.113.0/25", "2001:db8:9::/64"],
    "office": ["203.0.113.0/24", "198.51.100.0/24", "2001:db8:9::/48"],
}
PREFIXES = ["203.0.113.0/24", "203.0.0.0/16", "2001:db8:9::/48"]
HOSTS = [
    ip_address(text)
    for text in (
        "203.0.113.7",
        "203.0.113.200",
        "203.0.0.1",
        "198.51.100.1",
        "8.8.8.8",
        "2001:db8:9::1",
        "2001:db8:9:1::1",
        "2001:db8:a::1",
    )
]
"""One for each part into which the lists and prefixes divide the remote hosts."""
FILES = ListsInMemory({f"{name}.txt": "\n".join(entries) for name, entries in LISTS.items()})
HOLIDAYS = [date(2026, 12, 25)]
DAYS = [date(2026, 6, 1), date(2026, 6, 5), date(2026, 6, 6), date(2026, 12, 25), date(2026, 12, 26)]
"""Monday, Friday, Saturday, a holiday on a Friday, and the Saturday after it."""
HOURS: dict[str, Callable[[str, str, int], bool]] = {
    "06:00-13:00": lambda day, before, hour: 6 <= hour < 13,
    "23:00-06:00": lambda day, before, hour: hour >= 23 or hour < 6,
    "mon-fri 06:00-13:00": lambda day, before, hour: day in "mon fri" and 6 <= hour < 13,
    "sat-sun,holidays": lambda day, before, hour: day in "sat holiday",
    "fri 23:00-06:00": lambda day, before, hour: (hour >= 23 and day == "fri") or (hour < 6 and before == "fri"),
    "holidays 12:00-02:00": lambda day, before, hour: (
        (hour >= 12 and day == "holiday") or (hour < 2 and before == "holiday")
    ),
}
"""Hours -> whether they hold on a day, after a day, at an hour."""

ports = st.lists(st.sampled_from(PORTS), min_size=1, max_size=3)
who = st.sampled_from(["pc", "tv", "@both", "*"])


entries = st.lists(st.sampled_from([*PREFIXES, "@bots", "@office"]), min_size=1, max_size=2, unique=True)
remotes = (
    entries | st.fixed_dictionaries({"never": entries}) | st.fixed_dictionaries({"only": entries, "never": entries})
)
hours = st.sampled_from([*HOURS, ["06:00-13:00", "fri 23:00-06:00"]])


def table(name: str, **keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Rule]:
    return st.fixed_dictionaries({"name": st.integers(0, 9).map(lambda n: f"{name}{n}")}, optional=keys)


forbid_tables = table(
    "f",
    who=st.sampled_from(["pc", "tv", "@both"]),
    zone=st.sampled_from([*sorted(ZONES), {"from": "guest"}, {"for": "main"}, {"from": "main", "for": "guest"}]),
    proto=st.sampled_from(["tcp", "udp"]),
    family=st.sampled_from(["ip4", "ip6"]),
    int_ports=ports,
    ext_ports=ports,
    remote=remotes,
    hours=hours,
    via=st.sampled_from(["igd1", ["pcp", "natpmp"]]),
)
grant_tables = table(
    "g",
    zone=st.sampled_from(sorted(ZONES)),
    proto=st.sampled_from(["tcp", "udp"]),
    family=st.sampled_from(["ip4", "ip6"]),
    int_ports=ports,
    ext_ports=ports,
    ext=st.sampled_from(["same", "any"]),
    remote=remotes,
    max_mappings=st.integers(1, 3),
    hours=hours,
    approve=st.booleans(),
    **{"for": st.sampled_from([["10.0.40.0/28"], ["192.168.0.0/16"]])},
)
policies = st.fixed_dictionaries(
    {
        "version": st.just(1),
        "default": st.sampled_from(["deny", "ask"]),
        "mode": st.sampled_from(["enforce", "enforce", "observe"]),
        "device": st.just({name: {"mac": [mac]} for name, mac in NAMED.items()}),
        "group": st.just({"both": sorted(NAMED)}),
        "zone": st.just(ZONES),
        "set": st.just({name: {"file": f"{name}.txt"} for name in LISTS}),
        "holidays": st.just(HOLIDAYS),
        "forbid": st.lists(forbid_tables, max_size=3, unique_by=lambda t: str(t["name"])),
        "grant": st.lists(
            st.tuples(grant_tables, who).map(lambda pair: {**pair[0], "who": pair[1]}),
            max_size=4,
            unique_by=lambda t: str(t["name"]),
        ),
    }
)


@st.composite
def questions(draw: st.DrawFn) -> tuple[Facts, MapRequest]:
    address, mac = draw(st.sampled_from(SENDERS))
    target, target_mac = draw(st.sampled_from([(address, mac)] * 4 + SENDERS))
    port = draw(st.sampled_from(PORTS))
    pinhole = target.version == 6
    remote = draw(st.sampled_from([None, None, "203.0.113.7", "203.0.0.0/16", "2001:db8:9::1"]))
    request = map_request(
        address,
        port,
        port if pinhole else draw(st.sampled_from(PORTS)),
        via=draw(st.sampled_from([Via.IGD1, Via.PCP])),
        transport=draw(st.sampled_from(list(Transport))),
        internal=Endpoint(target, port),
        choice=PortChoice.EXACT if pinhole else draw(st.sampled_from(list(PortChoice))),
        remote=None if remote is None or (":" in remote) != pinhole else ip_network(remote),
    )
    facts = facts_of(
        address,
        mac=mac,
        target_device=target_mac or str(target),
        target_mac=target_mac,
        minute_of_day=draw(st.sampled_from([0, 90, 420, 720, 800, 1380])),
        today=draw(st.sampled_from(DAYS)).toordinal(),
        held=HeldMappings(by_grant={f"g{n}": draw(st.integers(0, 3)) for n in range(3)}),
    )
    return facts, request


def made(tables: Mapping[str, Any]) -> Policy:
    return with_indexes(build_policy(tables, "model", lists=FILES))


def hosts_of(rule: Rule) -> set[IPAddress]:
    """The remote hosts of a rule."""
    remote = rule.get("remote", {})
    remote = {"only": remote} if isinstance(remote, list) else remote

    def among(entries: list[str]) -> set[IPAddress]:
        texts = [text for one in entries for text in (LISTS[one[1:]] if one[0] == "@" else [one])]
        return {host for host in HOSTS if any(host in ip_network(text) for text in texts)}

    return (among(remote["only"]) if "only" in remote else set(HOSTS)) - among(remote.get("never", []))


def wanted_by(request: MapRequest) -> set[IPAddress]:
    """The remote hosts that a request would let in."""
    version = request.internal.address.version
    return {h for h in HOSTS if h.version == version and (request.remote is None or h in request.remote)}


def in_hours(rule: Rule, facts: Facts) -> bool:
    def kind(ordinal: int) -> str:
        day = date.fromordinal(ordinal)
        return "holiday" if day in HOLIDAYS else day.strftime("%a").lower()

    texts = rule.get("hours")
    if texts is None:
        return True
    days = kind(facts.today), kind(facts.today - 1)
    return any(
        HOURS[text](*days, facts.minute_of_day // 60) for text in ([texts] if isinstance(texts, str) else texts)
    )


# -- the model: tables as they are in the file, no index, no order


def model(tables: Mapping[str, Any], facts: Facts, request: MapRequest) -> tuple[str, str | None, set[IPAddress]]:
    """(outcome, rule, remote hosts that may connect) of a request that the floor and the limits allow."""
    target, port = request.internal.address, request.internal.port
    own = facts.target_device == facts.device
    exact = port if target.version == 6 else request.external_port if request.choice is PortChoice.EXACT else None
    names = {name for name, mac in NAMED.items() if mac == facts.mac}
    touched = names | {name for name, mac in NAMED.items() if mac == facts.target_mac}

    def common(rule: Rule, names: set[str], places: list[Any]) -> bool:
        wanted = rule.get("who", "*")
        return (
            (wanted == "*" or bool(names & ({"pc", "tv"} if wanted == "@both" else {wanted})))
            and rule.get("proto", request.transport) == request.transport
            and rule.get("family", f"ip{target.version}") == f"ip{target.version}"
            and zones(rule.get("zone"), places)
            and request.via in rule.get("via", [request.via])
        )

    def zones(zone: str | dict[str, str] | None, places: list[Any]) -> bool:
        def inside(name: str, places: list[Any]) -> bool:
            return any(place in ip_network(net) for net in ZONES[name] for place in places)

        if isinstance(zone, dict):
            ends = {"from": facts.address, "for": target}
            return all(inside(name, [ends[end]]) for end, name in zone.items())
        return zone is None or inside(zone, places)

    wanted, named = wanted_by(request), request.remote is not None
    kept_out: set[IPAddress] = set()
    blocked: set[int] = set()
    for rule in sorted(tables["forbid"], key=lambda r: str(r["name"])):
        if not common(rule, touched, [facts.address, target]) or port not in rule.get("int_ports", [port]):
            continue
        if not in_hours(rule, facts):
            continue
        if exact is None and "ext_ports" in rule:
            blocked |= set(rule["ext_ports"])
        elif exact in rule.get("ext_ports", [exact]):
            taken = wanted & hosts_of(rule)
            if taken == wanted or (named and taken):
                return "deny", str(rule["name"]), set()
            kept_out |= taken

    def choices(rule: Rule) -> set[int]:
        listed = set(rule["ext_ports"]) if "ext_ports" in rule else {p for p in PORTS if p >= 1024 or p == port}
        return listed & {exact if exact is not None else port if rule.get("ext") == "same" else p for p in PORTS}

    def covers(rule: Rule) -> bool:
        inside = wanted & hosts_of(rule)
        return (
            common(rule, names, [target if own else facts.address])
            and (port in rule["int_ports"] if "int_ports" in rule else port >= 1024)
            and (any(target in ip_network(n) for n in rule["for"]) if "for" in rule else own)
            and (inside == wanted if named else bool(inside))
            and bool(choices(rule))
        )

    def open_now(rule: Rule) -> bool:
        return in_hours(rule, facts) and facts.held.by_grant.get(str(rule["name"]), 0) < rule.get(
            "max_mappings", 99
        )

    matching = [rule for rule in tables["grant"] if covers(rule)]
    with_port = [rule for rule in matching if choices(rule) - blocked and (wanted & hosts_of(rule)) - kept_out]
    by_name = {str(rule["name"]): rule for rule in matching}
    usable = sorted((bool(r.get("approve")), str(r["name"])) for r in with_port if open_now(r))
    low = port < 1024 or (exact is not None and exact < 1024)
    if usable and not usable[0][0]:
        return "allow", usable[0][1], (wanted & hosts_of(by_name[usable[0][1]])) - kept_out
    if tables["mode"] == "observe" and own and not low:
        left = ({exact} if exact is not None else set(range(1024, 65536))) - blocked
        return ("allow", "observe", wanted - kept_out) if left and wanted - kept_out else ("deny", "blocked", set())
    if usable:
        return "ask", usable[0][1], set()
    if with_port:
        return "deny", min((bool(r.get("approve")), str(r["name"])) for r in with_port)[1], set()
    if matching or (own and not low and not wanted - kept_out):
        return "deny", "blocked", set()
    return ("ask" if tables["default"] == "ask" and own and not low else "deny"), None, set()


@examples(400)
@given(policies, questions())
def test_decide_agrees_with_the_model(tables: dict[str, Any], question: tuple[Facts, MapRequest]) -> None:
    verdict = decide(made(tables), *question)
    outcome, rule, hosts = model(tables, *question)
    if verdict.clamps is not None and outcome == "allow":
        told = remote_hosts(made(tables), verdict.clamps, question[1])
        assert {host for host in wanted_by(question[1]) if told.has(host)} == hosts
    if rule == "blocked":
        assert verdict.outcome is Outcome.DENY
        assert verdict.rule in {forbid["name"] for forbid in tables["forbid"]}
    else:
        assert (verdict.outcome.value, verdict.rule) == (outcome, rule), verdict.reasons


@given(policies, questions(), st.randoms(use_true_random=False))
def test_the_order_of_the_file_never_matters(
    tables: dict[str, Any], question: tuple[Facts, MapRequest], random: Any
) -> None:
    shuffled = dict(tables)
    for key in ("forbid", "grant"):
        shuffled[key] = random.sample(tables[key], len(tables[key]))
    for key in ("device", "group", "zone"):
        shuffled[key] = dict(random.sample(sorted(tables[key].items()), len(tables[key])))
    assert made(shuffled).digest == made(tables).digest
    assert decide(made(shuffled), *question) == decide(made(tables), *question)


OPENNESS = {Outcome.DENY: 0, Outcome.ASK: 1, Outcome.ALLOW: 2}


@given(policies, forbid_tables, questions())
def test_a_forbid_more_never_allows_more(
    tables: dict[str, Any], forbid: Rule, question: tuple[Facts, MapRequest]
) -> None:
    before = decide(made(tables), *question)
    more = {**tables, "forbid": [*tables["forbid"], {**forbid, "name": "one-more"}]}
    after = decide(made(more), *question)
    assert OPENNESS[after.outcome] <= OPENNESS[before.outcome]
    if after.clamps is not None and before.clamps is not None and after.rule == before.rule:
        for low, high in after.clamps.external_ports:
            assert any(first <= low and high <= last for first, last in before.clamps.external_ports)


@given(policies, grant_tables, who, questions())
def test_a_grant_more_never_denies_more(
    tables: dict[str, Any], grant: Rule, devices: str, question: tuple[Facts, MapRequest]
) -> None:
    before = decide(made(tables), *question)
    more = {**tables, "grant": [*tables["grant"], {**grant, "name": "one-more", "who": devices}]}
    after = decide(made(more), *question)
    if before.outcome is Outcome.ALLOW:
        assert after.outcome is Outcome.ALLOW
    # Quotas and hours apart: a grant that would cover it, and has no room, answers a question with no.
    if after.rule != "one-more":
        assert OPENNESS[after.outcome] >= OPENNESS[before.outcome]


@given(policies, questions(), st.booleans())
def test_every_verdict_is_whole_and_names_its_reason(
    tables: dict[str, Any], question: tuple[Facts, MapRequest], frozen: bool
) -> None:
    policy = made(tables)
    facts = replace(question[0], frozen=frozen)
    verdict = decide(policy, facts, question[1])
    shown = verdict.reasons[-1]
    assert shown.isascii()
    assert shown.isprintable()
    assert 0 < len(shown) <= 120
    assert verdict.policy == policy.digest
    assert len(verdict.policy) == 12
    assert (verdict.clamps is not None) == (verdict.outcome is Outcome.ALLOW) == (verdict.refusal is None)
    assert (verdict.refusal is Refusal.ASK) == (verdict.outcome is Outcome.ASK)
    if verdict.rule is not None:
        assert verdict.rule in shown or verdict.rule == "observe"
    if verdict.outcome is Outcome.ALLOW:
        assert verdict.rule is not None
        assert verdict.clamps is not None
        assert verdict.clamps.external_ports
        assert verdict.clamps.max_ttl_s > 0
    assert verdict == decide(policy, facts, question[1])


def test_the_longest_names_still_fit_into_a_reason() -> None:
    long = "n" * 40
    tables = {
        "version": 1,
        "grant": [
            {
                "name": long,
                "who": "*",
                "max_mappings": 65535,
                "max_ports_per_day": 1024,
                "hours": "10:00-11:00",
                "approve": True,
            }
        ],
    }
    seen = frozenset(range(2000, 3024))
    for facts in (
        facts_of(),
        facts_of(minute_of_day=600),
        facts_of(minute_of_day=600, int_ports_today=seen),
        facts_of(minute_of_day=600, held=HeldMappings(by_grant={long: 65535})),
    ):
        verdict = decide(made(tables), facts, map_request(IPv4Address("192.168.1.23")))
        assert long in verdict.reasons[-1]
        assert len(verdict.reasons[-1]) <= 120
