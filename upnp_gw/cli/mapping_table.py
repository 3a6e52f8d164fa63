"""The table of port mappings and pinholes, of ``list`` and of its screen (``watch``)."""

from datetime import datetime

from upnp_gw import api
from upnp_gw.cli import formats
from upnp_gw.cli.table import Column, table
from upnp_gw.cli.terminal import CAUTION, LONGEST_TEXT
from upnp_gw.text.escape import shown

OBSERVE_RULE = "observe"
"""The rule of a mapping that no grant covers (``upnp_gw.gate.schema``, which is not loaded here)."""
STATE = {"active": "", "parked": "parked", "contested": "contested", "disabled": "off", "waiting": "waiting"}


def format_external(mapping: api.Mapping) -> str:
    """``tcp/8080``; over IPv6 ``tcp6/443``. The port of a pinhole is that of its internal client."""
    six = "6" if ":" in mapping.internal_client else ""
    return f"{mapping.transport}{six}/{mapping.external_port}"


def format_state(mapping: api.Mapping) -> str:
    """Empty for an ordinary mapping. ``would-deny``: no grant covers it, but ``mode`` is ``observe``."""
    return STATE[mapping.state] or ("would-deny" if mapping.rule == OBSERVE_RULE else "")


def format_lease_left(mapping: api.Mapping) -> str:
    return "always" if mapping.lease_left_s is None else formats.duration(mapping.lease_left_s)


def format_device(mapping: api.Mapping) -> str:
    return shown(mapping.device_name or mapping.device)


def format_own(mapping: api.Mapping) -> str:
    """``192.168.1.44:8080``: the external address and port here, below a gateway above; empty: there is none."""
    above = mapping.above
    return "" if above is None else formats.endpoint(shown(above.own_address or "-"), above.own_port)


def mapping_columns(now: datetime, above: bool = False) -> list[Column[api.Mapping]]:
    """``above``: a gateway above has leases of some of them."""
    here = [Column("HERE", format_own, below=21, keep=8)] if above else []
    return [
        Column("ID", lambda m: shown(m.id), keep=9),
        Column("EXTERNAL", format_external, keep=9),
        *here,
        Column("FROM", lambda m: shown(m.remote_host or "", LONGEST_TEXT), below=18, keep=4, needed=True),
        Column(
            "INTERNAL",
            lambda m: formats.endpoint(shown(m.internal_client), m.internal_port),
            below=21,
            keep=9,
        ),
        Column("DEVICE", format_device, below=17, keep=8),
        Column("VIA", lambda m: "+".join(m.vias or [m.via]), keep=3),
        Column("STATE", format_state, keep=7, style=lambda m: CAUTION),
        Column("LEFT", format_lease_left, right=True, keep=8),
        Column("CONNS", lambda m: formats.count(m.connections), right=True, keep=6),
        Column("BYTES", lambda m: formats.count(m.bytes), right=True, keep=0),
        Column("USED", lambda m: formats.age(m.last_used, now), right=True, keep=2),
        Column("RULE", lambda m: shown(m.rule), least=8, keep=1),
        Column("DESCRIPTION", lambda m: shown(m.description), least=11, keep=5),
    ]


def mapping_table(mappings: list[api.Mapping], now: datetime, most: int) -> list[str]:
    """The table, or ``no mappings``."""
    if not mappings:
        return ["no mappings"]
    above = any(mapping.above is not None for mapping in mappings)
    return table(mapping_columns(now, above), mappings, most)
