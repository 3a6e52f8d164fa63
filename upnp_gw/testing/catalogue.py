"""The catalogue of faults and personalities as the page docs/testing-faults.md.

python -m upnp_gw.testing.catalogue > docs/testing-faults.md
"""

from upnp_gw.testing.personalities import PERSONALITIES, description_and_source
from upnp_gw.testing.registry import FaultEntry, entries

HEAD = """# The faults of the emulator

`igd.fault(NAME, ACTION, times=N, PARAMETER=VALUE)` of [upnp_gw.testing](testing.md) puts one in force, and
`upnp-gw lab --fault` those of the seam *servers*. Without an action it strikes every request that it can; without
times, until it is taken back. This page is made by `python -m upnp_gw.testing.catalogue`.

A fault sits at one of three seams: the bytes that the **servers** read and send, the text of the **policy**, which
the real gate reads, and a wrapper of the **firewall**. Faults of the **machine** are none of the program: the
gateway is told of another network, or starts again. The daemon run as a router can reach none of them.

*Strikes* says where the change that a request asks for stands: **before**, the gateway does not see the request
(or sees another one); **after**, it has made the change, and the client sees something else.
"""
PERSONALITIES_HEAD = """
## Personalities

`Emulator(personality=NAME)` or `igd.personality(NAME, ...)`. Each names what it is made of and the source of the
quirk.
"""


def page() -> str:
    """The page in Markdown."""
    lines = [HEAD, "| fault | what it does | seam | strikes | parameters |", "| --- | --- | --- | --- | --- |"]
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
    return f"| `{entry.name}` | {entry.description} | {entry.seam} | {entry.strikes} | {shown} |"


if __name__ == "__main__":
    print(page(), end="")
