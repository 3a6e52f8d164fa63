"""An operator that answers every command with the longest data: for tests of what fits a terminal."""

import json
from ipaddress import ip_address
from typing import Any

from msgspec.structs import replace

from tests.cli.test_devices import INCIDENT, QUESTION, WRITTEN, Answering
from tests.cli.test_evidence import ROW
from tests.fixtures.fake_operator import DEVICE, NOW, STATUS, decision, mapping
from tests.fixtures.policies import facts_of, map_request
from upnp_gw import api
from upnp_gw.engine.audit import plain_facts
from upnp_gw.model.mapping import MappingKind, Via

SIX = "2001:db81:1234:5678:9abc:def1:1234:5678"
"""39 characters."""
REMOTES = ("2001:db82:1234:5678:9abc:def1:1234:5678/128", "203.0.113.128/25")
DEVICES = ("02:00:00:00:00:66@abcdefghijklmno", "02:00:00:00:00:67@abcdefghijklmno")
ENDPOINT = f"[{SIX}]:65535"
LONG_NAME = "a-name.of-forty_characters-which-is-most"
RULE = "rule-" + "x" * 40
TEXT = "A description with many words that says what it is for " * 4
PASTED = f'nft insert rule inet filter forward iifname "abcdefghijklmno" ip6 daddr {SIX} tcp dport 65535 accept'
REASON = f"forbid {RULE}: internal port 65535 of {SIX} is not in 1024-65534, remote {REMOTES[0]} is not within"

MAPPINGS = [
    mapping(
        1_000_000 + at,
        kind=MappingKind.PINHOLE,
        external_address=SIX,
        external_port=65535,
        internal_client=SIX,
        internal_port=65535,
        remote_host=" ".join(REMOTES),
        device=device,
        device_name=name,
        vias=[Via.IGD2, Via.NATPMP, Via.PCP],
        description=TEXT,
        rule=RULE,
        state="contested",
        connections=1_234_567,
    )
    for at, (device, name) in enumerate(((DEVICES[0], None), (DEVICES[1], LONG_NAME)))
]
_ADDRESS = ip_address(SIX)
_REQUEST = map_request(_ADDRESS, 65535)
FACTS = json.loads(json.dumps(plain_facts(facts_of(_ADDRESS, mac="02:00:00:00:00:66"), _REQUEST)))
DECISIONS = [
    decision(
        1_000_000 + at,
        verdict=verdict,
        device=DEVICES[at],
        address=SIX,
        external_port=65535,
        internal_client=SIX,
        internal_port=65535,
        rule=RULE,
        reasons=["floor: holds", REASON],
        count=99999,
        choice=_REQUEST.choice.value,
        facts=FACTS,
    )
    for at, verdict in enumerate(("deny", "allow"))
]
EXPLAINED = api.Explained(
    verdict="deny",
    refusal="not-authorized",
    rule=RULE,
    reasons=["floor ok", "limits ok", REASON],
    forbids=[api.Rule(name=RULE, effect="denies", why=REASON, concerns=True)],
    grants=[api.Rule(name=RULE, effect="none", why=REASON, concerns=True)],
    names=[LONG_NAME],
    lease_s=None,
    policy="0123456789ab",
    facts={"device": DEVICES[0], "address": SIX, "zones": ["guest"] * 20},
    decision=DECISIONS[0],
)
SENTENCE = f"a sentence with {SIX} and {ENDPOINT} which is long; run upnp-gw release {DEVICES[0]} to end it"
REVOKED = api.RevokedMapping(
    mapping="m1000000",
    device=DEVICES[0],
    device_name=None,
    transport=ROW.transport,
    external_port=65535,
    internal_client=SIX,
    internal_port=65535,
    reason=REASON,
    decision="d1000000",
    kept=True,
)


class WorstCase(Answering):
    """Every answer is as long as it may be."""

    def __init__(self) -> None:
        super().__init__()
        self.held = list(MAPPINGS)
        self.decided = list(DECISIONS)
        self.open_incidents = [replace(INCIDENT, device=DEVICES[0], device_name=LONG_NAME)]
        self.seen = [
            replace(ROW, device=DEVICES[0], device_name=None, remotes=list(REMOTES)),
            replace(ROW, device=DEVICES[1], device_name=LONG_NAME),
        ]
        self.found_stale = [api.Stale(kind="mapping-idle", about=ENDPOINT, finding=SENTENCE, since=NOW)]
        self.checks = [
            api.Check(name="other tables", outcome="fail", finding=SENTENCE, remedy=PASTED),
            api.Check(name="flow offload", outcome="warn", finding=SENTENCE, remedy=f"before its rule: {PASTED}"),
            api.Check(name="state", outcome="ok", finding=SENTENCE, remedy=SENTENCE),
        ]
        self.questions = [
            replace(
                QUESTION,
                device=DEVICES[0],
                device_name=None,
                address=SIX,
                family="ip6",
                internal_client=SIX,
                internal_port=65535,
                remote_hosts=[api.RemoteHost(host=each, port=65535) for each in REMOTES],
                description=TEXT,
                rule=RULE,
                decision="d1000000",
            )
        ]

    async def queue(self) -> list[api.Question]:
        return self.questions

    async def status(self) -> api.Status:
        return replace(
            STATUS,
            wan=replace(STATUS.wan, interface="abcdefghijklmno", external_addresses=["203.0.113.128"] * 5),
            lan=[api.LanState(interface="abcdefghijklmno", up=False, addresses=[f"{SIX}/128"] * 3)],
            locations=[f"http://{ENDPOINT}/igd1.xml"],
            warnings=[SENTENCE],
            detected=[SENTENCE],
        )

    async def devices(self) -> list[api.Device]:
        first = replace(DEVICE, device=DEVICES[0], addresses=[SIX], dhcp_name=TEXT, last_refusal=REASON)
        return [first, replace(first, device=DEVICES[1], name=LONG_NAME)]

    async def explain(self, decision_id: str) -> api.Explained:
        return EXPLAINED

    async def trial(self, body: api.Trial) -> api.Explained:
        return replace(EXPLAINED, decision=None)

    async def reload(self) -> api.Reloaded:
        return api.Reloaded(
            before="0123456789ab", hash="ba9876543210", source="/etc/upnp-gw/policy.toml", standing=7,
            fallen=[REVOKED], warnings=[SENTENCE],
        )  # fmt: skip

    async def policy(self) -> api.PolicyText:
        return api.PolicyText(
            source="/etc/upnp-gw/policy.toml", hash="0123456789ab", since=NOW, text="version = 1\n",
            approved_file=WRITTEN.file, approved="", warnings=[SENTENCE], problem=SENTENCE,
        )  # fmt: skip

    async def add(self, request: api.AddMapping) -> Any:
        return MAPPINGS[0]

    async def revoke(self, device: str) -> Any:
        return api.Revoked(mappings=MAPPINGS, questions=2)

    async def block(self, device: str, body: api.Block) -> Any:
        return api.Blocked(
            toml=WRITTEN.toml, file=WRITTEN.file, policy=WRITTEN.policy,
            closed=MAPPINGS, questions=2, left=MAPPINGS * 9,
        )  # fmt: skip

    async def name(self, device: str, body: api.NameDevice) -> Any:
        return api.Problem(error="conflict", message=SENTENCE)

    async def approve(self, number: str, body: api.Approve) -> Any:
        opened, why_not = (MAPPINGS[0], None) if body.for_s else (None, SENTENCE)
        return api.Approved(
            toml=WRITTEN.toml, file=WRITTEN.file, policy=WRITTEN.policy, opened=opened, why_not=why_not
        )
