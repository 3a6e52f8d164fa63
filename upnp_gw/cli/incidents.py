"""Open incidents and waiting questions, as ``list``, ``devices`` and ``release`` show them."""

import msgspec

from upnp_gw import api
from upnp_gw.cli import formats
from upnp_gw.cli.client import DaemonClient
from upnp_gw.cli.terminal import BAD, CAUTION, glue, paint, paint_first, wrap
from upnp_gw.text.escape import shown

STATE = {"freeze": "is frozen", "quarantine": "is in quarantine", "log": "is reported"}


def format_incident(incident: api.Incident) -> str:
    """``ps5 (02:..:66) is frozen until 2026-05-02 12:00:00: 27 ports were refused``."""
    device = shown(incident.device)
    device = f"{shown(incident.device_name)} ({device})" if incident.device_name else device
    until = formats.time(incident.ends_at)
    ports = formats.plural(len(incident.ports), "port")
    return f"{device} {STATE[incident.action]} until {until}: {ports} were refused"


def banner(daemon: DaemonClient, most: int) -> list[str]:
    """Lines for open incidents and the number of waiting questions, at most ``most`` columns wide."""
    incidents = msgspec.json.decode(daemon.request("GET", "/v1/incidents"), type=list[api.Incident])
    waiting = len(msgspec.json.decode(daemon.request("GET", "/v1/queue"), type=list[api.Question]))
    lines = []
    for incident in incidents:
        command = glue(f"(upnp-gw release {shown(incident.device)})")
        lines += paint_first(wrap(f"INCIDENT: {format_incident(incident)} {command}", most, "    "), BAD)
    return lines + ([paint(api.questions_wait(waiting), CAUTION)] if waiting else [])
