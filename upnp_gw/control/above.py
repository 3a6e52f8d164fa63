"""The gateway above, and the leases there, as types of the control API."""

from upnp_gw import api
from upnp_gw.control.address_kind import address_kind
from upnp_gw.model.above import AboveState
from upnp_gw.model.mapping import Instant, Mapping
from upnp_gw.model.network import Network
from upnp_gw.model.public_addresses import private_external


def lease_above(row: Mapping, network: Network, now: Instant) -> api.Above | None:
    """The lease of a mapping; None: it needs none."""
    above = row.above
    if above is None:
        return None
    own = row.key.external_address or next(iter(network.external), None)
    return api.Above(
        state="granted" if above.granted else "waiting" if above.waits else "lost",
        gateway=str(above.gateway) if above.gateway is not None else None,
        via=above.via,
        own_address=str(own) if own is not None else None,
        own_port=row.key.external_port,
        left_s=max(0, round(above.until - now.boot)) if above.granted else None,
        problem=above.problem or None,
    )


def gateway_above(state: AboveState, network: Network, now: Instant) -> api.GatewayAbove:
    """Its present state."""
    since = state.answers_since if state.answers_since is not None else state.silent_since
    external = state.external if state.external is not None and state.external.version == 4 else None
    return api.GatewayAbove(
        gateway=str(state.gateway) if state.gateway is not None else None,
        via=state.via,
        answers=None if since is None else state.answers_since is not None,
        since_s=max(0, round(now.boot - since)) if since is not None else None,
        external_address=str(state.external) if state.external is not None else None,
        address_kind=address_kind(external),
        loop=state.loop,
        sentence=chain_sentence(state, network),
    )


def above_check(state: AboveState, network: Network) -> api.Check:
    """The doctor's finding about it."""
    sentence, guide = chain_sentence(state, network), "docs/upstream.md"
    if state.answers_since is not None and not state.problem:
        return api.Check(name="gateway above", outcome="ok", finding=sentence)
    if state.answers_since is not None:
        remedy = "look whether that router has a way to the internet that does not lead through this one"
        return api.Check(name="gateway above", outcome="warn", finding=sentence, remedy=remedy, guide=guide)
    remedy = "switch UPnP, NAT-PMP or PCP on in that router, or write its address: gateway = ... in [upstream]"
    return api.Check(name="gateway above", outcome="warn", finding=sentence, remedy=remedy, guide=guide)


def chain_sentence(state: AboveState, network: Network) -> str:
    """``double NAT: 192.168.1.1 answers over pcp; outside is 198.51.100.7``."""
    twice = network.has_nat and any(private_external(address) is not None for address in network.external)
    what = "double NAT" if twice else "gateway above"
    if state.problem:
        return f"{what}: {state.problem}"
    if state.gateway is None:
        return f"{what}: the WAN has no route to a gateway above"
    if state.silent_since is not None:
        return f"{what}: {state.gateway} does not answer; new mappings are refused"
    if state.answers_since is None or state.via is None:
        return f"{what}: {state.gateway} was not asked yet"
    return f"{what}: {state.gateway} answers over {state.via}; {_end_of_chain(state)}"


def _end_of_chain(state: AboveState) -> str:
    if state.external is None:
        return "it has not told its address outside"
    why = private_external(state.external) if state.external.version == 4 else None
    if why is None:
        return f"outside is {state.external}"
    return f"outside is {state.external}, which is {why}: there is one more router above it"
