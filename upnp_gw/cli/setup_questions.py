"""The questions of ``upnp-gw setup``: asked at a terminal, or answered by options and by what was detected."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import click

from upnp_gw.cli.terminal import CAUTION, HEADING, paint, print_text
from upnp_gw.config.settings import Config
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.model.public_addresses import private_external
from upnp_gw.setup.answers import (
    KEEP,
    NAT,
    NO_NAT,
    PLACES,
    PROFILES,
    SIGN_INS,
    Answers,
    LanAnswer,
    NotAccepted,
    parse_firewall,
    parse_lans,
    parse_page,
    parse_policy,
    parse_wan,
)
from upnp_gw.setup.firewalls import Firewalls, find_firewalls, propose_mode
from upnp_gw.setup.interfaces import (
    Proposal,
    cannot_be_wan,
    describe,
    has_public_addresses,
    propose_lans,
    propose_wan,
)
from upnp_gw.setup.machine import Machine
from upnp_gw.text.escape import shown

T = TypeVar("T")

ONE_INTERFACE = (
    "This machine has one network interface: packets of other hosts do not pass it, so it has no port to open for"
    " them. With a second one (a card, a USB adapter, a VLAN such as eth0.10) it can be a router, or a firewall"
    " that opens pinholes. As it is, upnp-gw request asks the router of this network for ports of this machine, and"
    " upnp-gw demo shows the gateway."
)


@dataclass(slots=True)
class Questions:
    """Asks, or takes options and defaults. ``given``: option -> answer."""

    given: Mapping[str, str]
    asks: bool
    """True: a person at a terminal answers what no option does."""
    names: Sequence[str] = ("--wan", "--lan", "--firewall", "--policy", "--page")
    _number: int = field(default=0, init=False)

    def answer(
        self,
        option: str,
        text: str,
        label: str,
        default: str,
        parse: Callable[[str], T],
        doubt: str = "",
        candidates: Iterable[str] = (),
    ) -> T:
        """The answer to one question. ``doubt``: the reason why the default needs a person.

        Raises UsageError for an option that is not accepted, and for a doubt that nobody can settle."""
        if option in self.given:
            try:
                return parse(self.given[option])
            except NotAccepted as error:
                raise click.UsageError(f"{option}: {error}") from None
        if self.asks:
            return self._ask(text, label, default, parse)
        if doubt or not default:
            options = " or ".join(f"{option} {name}" for name in candidates) or f"{option} NAME"
            raise click.UsageError(f"{doubt or f'there is no default for {label}'}; name it: {options}")
        return parse(default)

    def _ask(self, text: str, label: str, default: str, parse: Callable[[str], T]) -> T:
        self._number += 1
        of = sum(name not in self.given for name in self.names)
        click.echo()
        print_text(paint(f"{self._number} of {of}.", HEADING) + f" {text}", further="  ")
        while True:
            line = click.prompt(f"  {label}", default=default or None, prompt_suffix=": ")
            try:
                return parse(str(line))
            except NotAccepted as error:
                print_text(f"  {error}", further="  ")


def show_machine(machine: Machine) -> None:
    """Prints the interfaces."""
    shown_ones = [i for i in machine.interfaces if i.name != "lo" and not i.master and i.left_out != "dummy"]
    room = max((len(i.name) for i in shown_ones), default=0)
    click.echo("Interfaces of this machine:")
    for interface in shown_ones:
        print_text(
            f"  {interface.name:<{room}}  {describe(interface, machine.routes, machine.carriers)}",
            further=" " * (room + 4),
        )


def ask_all(questions: Questions, machine: Machine, now: Config | None, policy_exists: bool) -> Answers:
    """All answers. ``now``: the configuration that is there. Raises UsageError."""
    wan = _ask_wan(questions, machine, now)
    lans = _ask_lans(questions, machine, now, wan)
    links = [i for i in machine.interfaces if i.name in {lan.name for lan in lans}]
    firewalls = find_firewalls(machine.ruleset, wan, links, machine.idle_firewalls, machine.ruleset_problem)
    mode, lans = _ask_firewall(questions, firewalls, now, lans)
    if "--nat" in questions.given:
        lans = tuple(replace(lan, nat=questions.given["--nat"] == NAT) for lan in lans)
    policy = _ask_policy(questions, policy_exists)
    page, sign_in = _ask_page(questions, now)
    sign_in = questions.given.get("--sign-in", sign_in)
    return Answers(wan, lans, mode, policy, page, sign_in)


def _ask_wan(questions: Questions, machine: Machine, now: Config | None) -> str:
    given = [word.split(":")[0] for word in questions.given.get("--lan", "").replace(",", " ").split()]
    proposal = propose_wan(machine.interfaces, machine.routes, given)
    if now is not None and now.wan:
        proposal = Proposal((now.wan,), (now.wan, *proposal.candidates), "as the configuration says")
    why = f" {proposal.names[0]}: {proposal.why}." if proposal.names else ""
    known = [i.name for i in machine.interfaces if not i.master and i.name != "lo"]
    wan = questions.answer(
        "--wan",
        f"The internet (WAN): the interface that leads to it.{why}"
        + f" In doubt: {proposal.doubt}." * bool(proposal.doubt),
        "WAN",
        proposal.names[0] if proposal.names else "",
        lambda text: parse_wan(text, {*known, *proposal.names}, proposal.candidates or known),
        proposal.doubt,
        proposal.candidates,
    )
    _tell_about_wan(machine, wan)
    return wan


def _tell_about_wan(machine: Machine, wan: str) -> None:
    interface = machine.interface(wan)
    if interface is None:
        print_text(f"{wan} does not exist yet: the gateway waits for it.")
        return
    if reason := cannot_be_wan(interface):
        note(f"{wan} is {reason}.")
    for address in interface.ipv4:
        if why := private_external(address):
            note(
                f"double NAT: the WAN address {address} is {why}. The internet reaches no port that is opened here"
                " until the router above sends its ports to this machine (docs/network.md)."
            )


def note(text: str) -> None:
    """Prints a sentence that the operator should know."""
    print_text(paint("note:", CAUTION) + f" {text}")


def _ask_lans(questions: Questions, machine: Machine, now: Config | None, wan: str) -> tuple[LanAnswer, ...]:
    proposal = propose_lans(machine.interfaces, machine.routes, wan, machine.carriers)
    if not proposal.candidates and "--lan" not in questions.given:
        raise click.UsageError(ONE_INTERFACE)
    without_nat = {i.name for i in machine.interfaces if has_public_addresses(i)}
    default = " ".join(
        str(LanAnswer(name, guests=at > 0, nat=name not in without_nat)) for at, name in enumerate(proposal.names)
    )
    if now is not None and now.lan:
        default = " ".join(str(LanAnswer(name, nat=name not in now.without_nat)) for name in now.lan)
        proposal = Proposal(now.lan, (*now.lan, *proposal.candidates), "as the configuration says")
        without_nat = set(now.without_nat)
    known = [i.name for i in machine.interfaces if not i.master and i.name not in ("lo", wan)]
    accepted = [name for name in dict.fromkeys((*proposal.candidates, *known)) if name != wan]
    why = f" {default}: {proposal.why}." if proposal.names else ""
    return questions.answer(
        "--lan",
        "Your devices (LAN): one interface or more, the home LAN first. :guests after a name: its hosts open"
        f" nothing; :{NO_NAT}: they have their own addresses outside.{why}"
        + f" In doubt: {proposal.doubt}."
        * bool(proposal.doubt),
        "LAN",
        default,
        lambda text: parse_lans([text], {*known, *proposal.names} - {wan}, accepted, without_nat),
        proposal.doubt,
        proposal.candidates,
    )


def _ask_firewall(
    questions: Questions, firewalls: Firewalls, now: Config | None, lans: tuple[LanAnswer, ...]
) -> tuple[FirewallMode, tuple[LanAnswer, ...]]:
    mode, why = propose_mode(firewalls)
    if now is not None:
        mode, why = now.firewall, "as the configuration says"
    word = next(word for word, place in PLACES.items() if place is mode)
    default = word if any(lan.nat for lan in lans) else f"{word} {NO_NAT}"
    return questions.answer(
        "--firewall",
        "The firewall. beside: one table beside the firewall of this machine, which forwards and masquerades as"
        " before; own: upnp-gw is the whole firewall, and the internet reaches only mapped ports."
        f" {NO_NAT} after it: no host is translated. {shown(why, 400)}.",
        "Firewall",
        default,
        lambda text: parse_firewall(text, lans),
    )


def _ask_policy(questions: Questions, exists: bool) -> str:
    kept = " keep: the policy file stays as it is." if exists else ""
    return questions.answer(
        "--policy",
        "The policy. home: every device opens some ports of its own from 1024 up; ask: what no rule allows waits"
        f" for your answer; locked: only devices and ports that you name.{kept}",
        "Policy",
        KEEP if exists else PROFILES[0],
        lambda text: parse_policy(text, exists),
    )


def _ask_page(questions: Questions, now: Config | None) -> tuple[str, str]:
    page, sign_in = "own", SIGN_INS[0]
    if now is not None:
        page, sign_in = now.page_lan, SIGN_INS[0] if now.page_listen.address.is_loopback else SIGN_INS[1]
    return questions.answer(
        "--page",
        "The page in a browser. own: a device sees its own ports; all: those of all devices; off: no page. You sign"
        " in with ssh to this machine; lan after it: from a browser of the LAN, over TLS.",
        "Page",
        page if page == "off" else f"{page} {sign_in}",
        lambda text: parse_page(text, sign_in),
    )
