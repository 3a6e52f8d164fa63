"""What people say about devices: names, allow, block, release, revoke, and the answers to what devices asked for.

The operations of the control socket that write rules. Each writes to the machine-owned file through the
``Enforcer``, so that it is in force, or was refused with the reason, when the command answers.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from ipaddress import ip_address

from msgspec import structs

from upnp_gw import api
from upnp_gw.control.serialize import Serializer, to_question
from upnp_gw.engine.decider import Decider
from upnp_gw.engine.gateway import Gateway
from upnp_gw.engine.operator_question import questions_waiting
from upnp_gw.engine.policy_files import Enforcer
from upnp_gw.engine.revocation import added_for, block, revoke
from upnp_gw.gate.device_history import Incident
from upnp_gw.gate.managed_file import ManagedChange, rules_of, toml_of
from upnp_gw.gate.operator_rules import CommandTarget, OperatorRules
from upnp_gw.gate.question import Question
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.device import OPERATOR, mac_of
from upnp_gw.model.errors import ConfigError, GatewayError
from upnp_gw.model.mapping import IPAddress, Mapping
from upnp_gw.model.request import Granted, Refused, Reply

Probe = Callable[[IPAddress, str], Awaitable[bool]]
Shown = Callable[[Mapping], api.Mapping]
Ending = Callable[[Decider, Transaction, str], None]


SWEEP_S = 60.0
"""How often it is looked for rules that have ended; what they granted is decided again at their end in any case."""
LONGEST_NUMBER = 12
log = logging.getLogger(__name__)


class _QuestionClosed(Exception):
    """The question was answered or changed before its answer was processed."""

    def __init__(self, problem: api.Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class DeviceCommands:
    """``shown`` puts a mapping into the words of the API; ``probe`` asks whether a device is there."""

    def __init__(self, gateway: Gateway, decider: Decider, enforcer: Enforcer, probe: Probe, shown: Shown) -> None:
        self._gateway = gateway
        self._decider = decider
        self._around = decider.environment
        self._enforcer = enforcer
        self._probe = probe
        self._shown = shown

    # -- rules about a device

    async def name(self, device: str, asked: api.NameDevice) -> api.Written | api.Problem:
        """A name of the machine-owned file can be changed; the rules that commands wrote follow it."""
        target = await self._target(device)
        if isinstance(target, api.Problem):
            return target
        own = self._enforcer.policies.approved.get("device", {})
        if asked.name in self._decider.policy.devices and asked.name != target.name:
            return _problem("taken", f"{asked.name} is another device already", "name")
        if target.name is not None and target.name not in own:
            return _problem("taken", f"{self._enforcer.policies.source} names this device {target.name}", "device")
        return await self._change(lambda: self._proposals.name(target, asked.name))

    async def allow(self, device: str, asked: api.Allow) -> api.Written | api.Problem:
        transports = tuple(asked.transports or ())
        return await self._write(
            device, lambda target: self._proposals.allow(target, asked.ranges, transports, asked.for_s)
        )

    async def block(self, device: str, asked: api.Block) -> api.Blocked | api.Problem:
        """Refuses the device everything, and ends what it holds and asked for. What the operator added stays."""
        target = await self._target(device)
        if isinstance(target, api.Problem):
            return target
        written = await self._change(lambda: self._proposals.block(target, asked.for_s))
        if isinstance(written, api.Problem):
            return written
        ended = await self._end(target, block)
        if isinstance(ended, api.Problem):
            return _problem(ended.error, "the block is in force; what the device holds stays open: upnp-gw revoke")
        written = structs.replace(written, closed=[*written.closed, *ended.mappings])
        return api.Blocked(
            **structs.asdict(written),
            questions=ended.questions,
            left=[self._shown(mapping) for mapping in added_for(self._decider, target.devices)],
        )

    async def release(self, device: str) -> api.Released | api.Problem:
        """Ends the incident of a device and takes back its block."""
        target = await self._target(device)
        if isinstance(target, api.Problem):
            return target
        blocks = self._proposals.blocks_of(target, self._enforcer.policies.approved)
        taken_back = rules_of(self._enforcer.policies.approved, blocks)
        written = await self._change(lambda: ManagedChange({}, without=blocks), taken_back) if blocks else None
        if isinstance(written, api.Problem):
            return written
        ended = [i for d in target.devices if (i := self._decider.history.release(d)) is not None]
        await self._gateway.remember()
        return api.Released(
            incidents=[self._incident(incident) for incident in ended],
            removed=written.toml if written else "",
            closed=written.closed if written else [],
        )

    async def retract(self, rule: str) -> api.Written | api.Problem:
        """Takes a rule that a command wrote out of the machine-owned file."""
        gone = rules_of(self._enforcer.policies.approved, {rule})
        if not gone.forbids and not gone.grants:
            return _problem("not-found", f"{self._enforcer.policies.machine} has no rule of this name")
        return await self._change(lambda: ManagedChange({}, without=frozenset({rule})), gone)

    async def revoke(self, device: str) -> api.Revoked | api.Problem:
        """Mappings, flows and pending questions of a device, at once. What it may ask for stays as it is."""
        target = await self._target(device)
        return target if isinstance(target, api.Problem) else await self._end(target, revoke)

    async def _end(self, target: CommandTarget, ending: Ending) -> api.Revoked | api.Problem:
        """Ends mappings of a device by ``ending``, their flows, and the device's questions."""
        gone: list[str] = []
        before = self._snapshot()

        def step(transaction: Transaction) -> None:
            for device in target.devices:
                ending(self._decider, transaction, device)
            gone[:] = transaction.ended

        failed = await self._gateway.submit(step)
        if failed is not None:
            return _problem("backend-failed", "the gateway could not carry it out; nothing changed")
        self._gateway.cut_due()
        await self._gateway.settled()
        questions = sum(self._decider.questions.drop_device(each) for each in target.devices)
        await self._gateway.remember()
        return api.Revoked(
            mappings=[mapping for each, mapping in before.items() if each in gone], questions=questions
        )

    def _snapshot(self) -> dict[str, api.Mapping]:
        """Every mapping as it is now, with its counters, by id, oldest first."""
        rows = sorted(self._decider.ledger.table, key=lambda row: row.granted_at)
        return {row.id: self._shown(row) for row in rows}

    # -- what devices ask for

    async def queue(self) -> list[api.Question]:
        proposals = self._proposals
        return [to_question(question, proposals) for question in self._waiting()]

    async def approve(self, number: str, asked: api.Approve) -> api.Approved | api.Problem:
        question = self._asked(number)
        if isinstance(question, api.Problem):
            return question
        longest = self._proposals.longest_s(question)
        if asked.for_s is not None and longest is not None and asked.for_s > longest:
            rule = question.topic.rule
            return _problem("invalid", f"rule {rule} lets an approval last {longest} s at most", "for_s")
        written = await self._answer(question, lambda: self._proposals.approve(question, asked.for_s))
        if isinstance(written, api.Problem):
            return written
        self._decider.questions.drop(question)
        opened, why_not, holder = await self._open(question)
        await self._gateway.remember()
        return api.Approved(**structs.asdict(written), opened=opened, why_not=why_not, holder=holder)

    async def deny(self, number: str, asked: api.Deny) -> api.Written | api.Problem:
        question = self._asked(number)
        if isinstance(question, api.Problem):
            return question
        written: api.Written | api.Problem = api.Written(
            toml="", file=str(self._enforcer.policies.machine), policy=self._decider.policy.digest
        )
        if asked.remember:
            written = await self._answer(question, lambda: self._proposals.deny(question, asked.for_s))
        if not isinstance(written, api.Problem):
            self._decider.questions.drop(question)
            if asked.remember:  # the forbid answers the questions about other remote hosts too
                self._decider.questions.settle(question.topic._replace(remotes=()))
            await self._gateway.remember()
        return written

    async def incidents(self) -> list[api.Incident]:
        """The open ones, oldest first."""
        return [self._incident(incident) for incident in self._decider.history.incidents(self._around.clock())]

    # -- rules that end

    async def keep(self) -> None:
        """Takes rules out of the machine-owned file when they end, for as long as the gateway runs."""
        while True:
            await asyncio.sleep(SWEEP_S)
            await self.sweep()

    async def sweep(self) -> None:
        """What a rule granted whose end has passed ends now, and the rule leaves the file."""
        end = self._enforcer.policies.next_end()
        if end is not None and end <= self._around.clock().wall:
            problem = await self._change(lambda: ManagedChange({}))
            if isinstance(problem, api.Problem):
                log.error("rules that have ended stay in the file: %s", problem.message)

    # -- how

    @property
    def _proposals(self) -> OperatorRules:
        around = self._around
        return OperatorRules(self._decider.policy, around.clock().wall, around.network.main_lan)

    async def _target(self, text: str) -> CommandTarget | api.Problem:
        """A device by its name, its MAC address or an address of it."""
        await self._meet(text)
        found = self._proposals.target(text, self._around.neighbours, self._around.network)
        if isinstance(found, str):
            return _problem("invalid", found, "device")
        known = {each for d in found.devices for each in self._ids(d)}
        return CommandTarget(tuple(sorted(known)), found.name, found.suggested)

    async def _meet(self, text: str) -> None:
        """Has the kernel ask who is at an address that nobody has spoken from for a while."""
        try:
            address = ip_address(text)
        except ValueError:
            return
        network = self._around.network
        if network.is_gateway(address) or self._around.host_of(address) is not None:
            return
        for link in network.lans:
            if network.on_link(address, link.name):
                with suppress(OSError):
                    if await self._probe(address, link.name):
                        self._around.hosts.lookup(address, link.name)

    def _ids(self, device: str) -> set[str]:
        """A device as it is told now: by the MAC address of an address that has one by now."""
        return {device} if mac_of(device) else {device, self._around.device_of(ip_address(device))}

    async def _write(
        self, device: str, make: Callable[[CommandTarget], ManagedChange]
    ) -> api.Written | api.Problem:
        target = await self._target(device)
        return target if isinstance(target, api.Problem) else await self._change(lambda: make(target))

    async def _change(
        self, make: Callable[[], ManagedChange], shown: ManagedChange | None = None
    ) -> api.Written | api.Problem:
        """``shown``: what is told of it, where that is not what it adds."""
        before = self._snapshot()
        try:
            written, fallen = await self._enforcer.change(make)
        except ConfigError as error:
            return _problem("policy", f"nothing was changed: {error}")
        except GatewayError as error:
            return _problem("backend-failed", f"nothing was changed: {error}")
        toml = written.toml if shown is None else toml_of(shown)
        gone = {one.mapping.id: one.mapping for one in fallen if not one.kept}
        closed = [mapping for each, mapping in before.items() if each in gone]
        closed += [self._shown(row) for each, row in gone.items() if each not in before]
        return api.Written(
            toml=toml,
            file=str(self._enforcer.policies.machine),
            policy=self._decider.policy.digest,
            closed=closed,
        )

    def _waiting(self) -> list[Question]:
        return questions_waiting(self._decider, self._around.clock().wall)

    def _asked(self, text: str) -> Question | api.Problem:
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER else 0
        found = next((question for question in self._waiting() if question.number == number), None)
        return found or self._gone(number, text)

    def _gone(self, number: int, text: str) -> api.Problem:
        now = self._decider.questions.successor(number)
        if now is None:
            return _problem("not-found", f"no question {text[:LONGEST_NUMBER]} waits")
        changed = f"question {number} has changed since it was shown: it is question {now.number} now"
        return _problem("changed", f"{changed}; nothing was done; look at the queue again")

    async def _answer(self, question: Question, make: Callable[[], ManagedChange]) -> api.Written | api.Problem:
        """Writes an answer, if the question is still what it was when its turn comes."""

        def checked() -> ManagedChange:
            if isinstance(found := self._asked(str(question.number)), api.Problem):
                raise _QuestionClosed(found)
            return make()

        try:
            return await self._change(checked)
        except _QuestionClosed as gone:
            return gone.problem

    async def _open(self, question: Question) -> tuple[api.Mapping | None, str | None, api.Holder | None]:
        """What was asked, at once, if the same device is there at the same address."""
        request = question.request
        source = request.source
        if self._around.device_of(source.address, source.interface) != question.topic.device:
            return None, "the device is at that address no more; its next request will be granted", None
        if mac_of(question.topic.device) is not None and source.interface:
            try:
                if not await self._probe(source.address, source.interface):
                    return None, "the device is away; its next request will be granted", None
            except OSError:
                return None, "it cannot be told whether the device is there; its next request will be granted", None
        reply: Reply | None = await self._gateway.approve(request)
        if isinstance(reply, Granted):
            return self._shown(reply.mapping), None, None
        if isinstance(reply, Refused):
            return None, reply.reason, Serializer(self._decider).holder(reply.holder)
        return None, "the gateway could not carry it out", None

    def _incident(self, incident: Incident) -> api.Incident:
        now = self._around.clock()
        return api.Incident(
            device=incident.device,
            device_name=self._proposals.name_of(incident.device) if incident.device != OPERATOR else None,
            began_at=api.moment(incident.began.wall),
            ends_at=api.moment(now.wall + incident.ends - now.boot),
            ports=list(incident.ports),
            action=incident.action.value,
        )


def _problem(word: str, message: str, field: str | None = None) -> api.Problem:
    return api.Problem(error=word, message=message, field=field)
