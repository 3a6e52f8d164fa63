"""The five questions of ``upnp-gw setup``, from the machine and the configuration that is there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import click

from upnp_gw.cli.setup_questions import Question, Questions, note
from upnp_gw.cli.terminal import print_text
from upnp_gw.config.settings import Config
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.model.public_addresses import private_external
from upnp_gw.setup.answers import (
    GUESTS,
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
from upnp_gw.setup.firewalls import Firewalls, find_firewalls, named, propose_mode
from upnp_gw.setup.interfaces import (
    Proposal,
    cannot_be_wan,
    configured,
    describe,
    has_public_addresses,
    propose_lans,
    propose_wan,
)
from upnp_gw.setup.machine import Machine
from upnp_gw.text.escape import shown

ONE_INTERFACE = (
    "This machine has one network interface: packets of other hosts do not pass it, so it has no port to open for"
    " them. With a second one (a card, a USB adapter, a VLAN such as eth0.10) it can be a router, or a firewall"
    " that opens pinholes. As it is, upnp-gw request asks the router of this network for ports of this machine, and"
    " upnp-gw demo shows the gateway."
)


def show_machine(machine: Machine) -> None:
    """Prints the interfaces."""
    seen = [i for i in machine.interfaces if i.name != "lo" and not i.master and i.left_out != "dummy"]
    room = max((len(i.name) for i in seen), default=0)
    print_text("Interfaces of this machine:")
    for interface in seen:
        facts = describe(interface, machine.routes, machine.carriers)
        print_text(f"  {interface.name:<{room}}  {facts}", further=" " * (room + 4))


@dataclass(frozen=True, slots=True)
class Before:
    """The files that are there."""

    config: Config | None
    """None: there is none."""
    guests: frozenset[str]
    """The LANs for guests, by the policy."""
    has_policy: bool


def ask_all(questions: Questions, machine: Machine, before: Before) -> Answers:
    """All answers. Raises UsageError."""
    now = before.config
    wan = _ask_wan(questions, machine, now)
    lans = _ask_lans(questions, machine, before, wan)
    mode, lans = _ask_firewall(questions, machine, now, wan, lans)
    if "--nat" in questions.given:
        lans = tuple(replace(lan, nat=questions.given["--nat"] == NAT) for lan in lans)
    policy = _ask_policy(questions, before.has_policy)
    page, sign_in = _ask_page(questions, now)
    still = [lan.name for lan in lans if lan.name in before.guests and not lan.guests]
    if policy == KEEP and still:
        note(f"the policy that is kept has {', '.join(still)} in its zone guests: hosts there open nothing.")
    return Answers(wan, lans, mode, policy, page, questions.given.get("--sign-in", sign_in))


def _ask_wan(questions: Questions, machine: Machine, now: Config | None) -> str:
    taken = [word.split(":")[0] for word in questions.given.get("--lan", "").replace(",", " ").split()]
    proposal = propose_wan(machine.interfaces, machine.routes, taken)
    if now is not None and now.wan:
        proposal = configured((now.wan,), machine.interfaces, proposal)
    known = [i.name for i in machine.interfaces if not i.master and i.name != "lo"]
    question = Question(
        "--wan",
        "WAN",
        "The internet (WAN): the interface that leads to it.",
        proposal.why,
        default=" ".join(proposal.names),
        doubt=proposal.doubt,
        candidates=proposal.candidates,
    )

    def parse(text: str) -> str:
        wan = parse_wan(text, known, proposal.names, proposal.candidates or known)
        interface = machine.interface(wan)
        has_route = any(route.interface == wan for route in machine.routes)
        if interface and interface.left_out in ("container", "virtual machine") and not has_route:
            raise NotAccepted(wan, f"an interface that leads to the internet; {wan} is of a {interface.left_out}")
        return wan

    wan = questions.answer(question, parse)
    _tell_about_wan(machine, wan)
    return wan


def _tell_about_wan(machine: Machine, wan: str) -> None:
    interface = machine.interface(wan)
    if interface is None:
        note(f"{wan} does not exist yet; the gateway waits for it.")
        return
    if reason := cannot_be_wan(interface):
        note(f"{wan} is {reason}.")
    for address in interface.ipv4:
        if why := private_external(address):
            note(
                f"double NAT: the address {address} of {wan} is {why}. The internet reaches no port that is opened"
                " here until the router above sends its ports to this machine (docs/network.md), or is asked for"
                ' each of them: [upstream] when = "private" in the configuration (docs/upstream.md).'
            )
    if interface.up and not interface.ipv4 and any(not address.is_link_local for address in interface.ipv6):
        note(f"{wan} has IPv6 alone: pinholes of IPv6 work, port mappings of IPv4 do not.")


def _ask_lans(questions: Questions, machine: Machine, before: Before, wan: str) -> tuple[LanAnswer, ...]:
    now = before.config
    proposal = propose_lans(machine.interfaces, machine.routes, wan, machine.carriers)
    without_nat = {i.name for i in machine.interfaces if has_public_addresses(i)}
    lans = [LanAnswer(name, at > 0, name not in without_nat) for at, name in enumerate(proposal.names)]
    if now is not None and now.lan:
        proposal = configured(now.lan, machine.interfaces, proposal)
        without_nat = set(now.without_nat)
        lans = [LanAnswer(name, name in before.guests, name not in without_nat) for name in now.lan]
    elif "--lan" not in questions.given:
        _check_second(machine, proposal)
    known = [i.name for i in machine.interfaces if not i.master and i.name not in ("lo", wan)]
    accepted = tuple(dict.fromkeys(name for name in (*proposal.candidates, *known) if name != wan))
    question = Question(
        "--lan",
        "LAN",
        "Your devices (LAN): the interface that leads to them; of several the home LAN first.",
        proposal.why,
        hint=f"After a name, :{GUESTS} means that its hosts open nothing, :{NO_NAT} that they are not translated.",
        default=" ".join(map(str, lans)),
        doubt=proposal.doubt,
        candidates=proposal.candidates,
    )

    def parse(text: str) -> tuple[LanAnswer, ...]:
        answered = parse_lans([text], {*known, *proposal.names} - {wan}, accepted, without_nat)
        for lan in answered:
            link = machine.interface(lan.name)
            if lan.guests and not any(not a.ip.is_link_local for a in (link.addresses if link else ())):
                raise NotAccepted(str(lan), "an interface with an address: the rule for guests names its prefix")
        return answered

    return questions.answer(question, parse)


def _check_second(machine: Machine, proposal: Proposal) -> None:
    """Raises UsageError if there is nothing to be a LAN; says so if there are only containers and VPNs."""
    if not proposal.candidates:
        raise click.UsageError(ONE_INTERFACE)
    others = [interface for name in proposal.candidates if (interface := machine.interface(name))]
    if all(interface.left_out for interface in others):
        note(ONE_INTERFACE)


def _ask_firewall(
    questions: Questions, machine: Machine, now: Config | None, wan: str, lans: tuple[LanAnswer, ...]
) -> tuple[FirewallMode, tuple[LanAnswer, ...]]:
    links = [i for i in machine.interfaces if i.name in {lan.name for lan in lans}]
    found = find_firewalls(machine.ruleset, wan, links, machine.idle_firewalls, machine.ruleset_problem)
    mode, why = propose_mode(found)
    shut_out = mode is FirewallMode.ROUTER and _comes_from_outside(machine, lans)
    doubt = f"you are signed in from {machine.operator_from}, which own shuts out" if shut_out else ""
    if now is not None:
        mode, why, doubt = now.firewall, "as the configuration says", ""
    place = next(word for word, each in PLACES.items() if each is mode)
    question = Question(
        "--firewall",
        "Firewall",
        "The firewall of this machine.",
        shown(why, 300),
        (
            ("beside", "one table beside your firewall, which forwards and masquerades as before"),
            ("own", "upnp-gw is the whole firewall: the internet reaches mapped ports alone"),
        ),
        f"Add {NO_NAT} if no host is translated.",
        place if any(lan.nat for lan in lans) else f"{place} {NO_NAT}",
        doubt,
        tuple(PLACES),
    )

    def parse(text: str) -> tuple[FirewallMode, tuple[LanAnswer, ...]]:
        chosen, answered = parse_firewall(text, lans)
        allowed = now is not None and now.allow_other_forward
        if chosen is FirewallMode.ROUTER and found.filters and not allowed:
            raise NotAccepted(text, f"beside; own does not start where {named(found)} filters forwarded packets")
        return chosen, answered

    chosen, answered = questions.answer(question, parse)
    _tell_about_firewall(machine, found, chosen, answered)
    return chosen, answered


def _comes_from_outside(machine: Machine, lans: Sequence[LanAnswer]) -> bool:
    """True if the operator is signed in over ssh from no LAN."""
    here = machine.operator_from
    links = [machine.interface(lan.name) for lan in lans]
    return here is not None and not here.is_loopback and not any(link and link.holds(here) for link in links)


def _tell_about_firewall(machine: Machine, found: Firewalls, mode: FirewallMode, lans: Sequence[LanAnswer]) -> None:
    if mode is FirewallMode.ROUTER and _comes_from_outside(machine, lans):
        note(f"you are signed in from {machine.operator_from}. Once the gateway runs, that host is shut out.")
    bare = [lan.name for lan in lans if lan.nat and lan.name not in found.translated]
    if mode is FirewallMode.ALONGSIDE and bare and not found.problem and not found.idle:
        note(
            f"no firewall of this machine masquerades {', '.join(bare)}: until one does, hosts there have no"
            " internet over IPv4."
        )


def _ask_policy(questions: Questions, exists: bool) -> str:
    question = Question(
        "--policy",
        "Policy",
        "The policy: which device may open which ports.",
        choices=(
            ("home", "every device opens some of its own ports from 1024 up"),
            ("ask", "what no rule allows waits for your answer"),
            ("locked", "only devices and ports that you name"),
            *([(KEEP, "the policy file stays as it is")] if exists else []),
        ),
        default=KEEP if exists else PROFILES[0],
    )
    return questions.answer(question, lambda text: parse_policy(text, exists))


def _ask_page(questions: Questions, now: Config | None) -> tuple[str, str]:
    page, sign_in = "own", SIGN_INS[0]
    if now is not None:
        page, sign_in = now.page_lan, SIGN_INS[0] if now.page_listen.address.is_loopback else SIGN_INS[1]
    question = Question(
        "--page",
        "Page",
        "The page in a browser.",
        choices=(
            ("own", "a device sees its own ports; you see all, after you sign in"),
            ("all", "a device sees the ports of all devices"),
            ("off", "no page"),
        ),
        hint="Add ssh to sign in through ssh to this machine, or lan to sign in from the LAN, over TLS.",
        default=page if page == "off" else f"{page} {sign_in}",
    )
    return questions.answer(question, lambda text: parse_page(text, sign_in))
