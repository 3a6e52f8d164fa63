"""The catalogue of faults and personalities as the page docs/testing-faults.md.

python -m upnp_gw.testing.catalogue > docs/testing-faults.md
"""

from upnp_gw.testing.outcomes import DOCUMENTS, EVENTING, NATPMP, NOTIFY, PCP, SOAP, SSDP
from upnp_gw.testing.personalities import PERSONALITIES, description_and_source
from upnp_gw.testing.registry import FaultEntry, entries

HEAD = """# The faults of the emulator

`igd.fault(NAME, ACTION, times=N, PARAMETER=VALUE)` of [upnp_gw.testing](testing.md) puts one in force, and
`upnp-gw lab --fault` most of those of the servers and the firewall. Without an action it strikes every request that
it can; without times, until it is taken back. This page is made by `python -m upnp_gw.testing.catalogue`.

A fault sits at one of three seams: the bytes that the **servers** read and send, the text of the **policy**, which
the real gate reads, and a wrapper of the **firewall**. Faults of the **machine** are none of the program: the
gateway is told of another network, or starts again. The daemon run as a router can reach none of them.

Lists of mappings are read from the ledger, and no firewall is asked for them. So `renumbering-index` and
`not-listed` are faults of what the servers read and send, and `not-forwarding` is one of the firewall: the ledger
has the mapping, and lists say so.

*Requests* are those that a fault can strike: **actions** of IGD; **documents** (`GET`); **subscriptions**
(`SUBSCRIBE`, `UNSUBSCRIBE`); **NAT-PMP** (`natpmp.address`, `natpmp.map`); **PCP** (`pcp.map`, `pcp.announce`);
**searches** (`M-SEARCH`); **events** (`NOTIFY`); **all**: it is in force for all of them, until it is taken back.

*Strikes* says where the change that a request asks for stands: **before**, the gateway does not see the request
(or sees another one); **after**, it has made the change, and the client sees something else.
"""
GROUPS = {
    "actions": SOAP,
    "documents": DOCUMENTS,
    "subscriptions": EVENTING,
    "NAT-PMP": NATPMP,
    "PCP": PCP,
    "searches": SSDP,
    "events": NOTIFY,
}
PERSONALITIES_HEAD = """
## Personalities

`Emulator(personality=NAME)` or `igd.personality(NAME, ...)`. Each names what it is made of and the source of the
quirk.
"""


def page() -> str:
    """The page in Markdown."""
    lines = [HEAD, "| fault | what it does | requests | seam | strikes | parameters |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    lines += [_row(entry) for entry in entries()]
    lines += [
        PERSONALITIES_HEAD,
        "| personality | what a client sees | made of | source |",
        "| --- | --- | --- | --- |",
    ]
    for name, kind in PERSONALITIES.items():
        description, source = description_and_source(kind)
        made_of = [f"`{option}={value!r}`" for option, value in kind.options.items()]
        made_of += [f"`{each}`" for each in kind.faults]
        lines.append(f"| `{name}` | {description} | {', '.join(made_of)} | {source} |")
    return "\n".join(lines) + "\n"


def _row(entry: FaultEntry) -> str:
    parameters = [
        f"`{each.name}`: {each.description}" + (f" ({each.default})" if each.default else "")
        for each in entry.parameters
    ]
    shown = "; ".join(parameters)
    requests = _requests(frozenset(entry.actions))
    return f"| `{entry.name}` | {entry.description} | {requests} | {entry.seam} | {entry.strikes} | {shown} |"


def _requests(actions: frozenset[str]) -> str:
    """The groups that are among them, then the others by name."""
    words = [word for word, group in GROUPS.items() if group <= actions]
    grouped = frozenset[str]().union(*(GROUPS[word] for word in words))
    return ", ".join([*words, *(f"`{action}`" for action in sorted(actions - grouped))]) or "all"


if __name__ == "__main__":
    print(page(), end="")
