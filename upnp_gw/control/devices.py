"""The operations that change rules: name, allow, block, release, retract, revoke, approve, deny.

Each writes to the machine-owned file (approved.toml) through the ``PolicyUpdates``: when it returns, the rule is in
force, or the operation was refused with the reason.
"""

from collections.abc import Callable, Sequence

from msgspec import structs

from upnp_gw import api
from upnp_gw.control.serialize import Serializer, to_question
from upnp_gw.control.targets import Probe, Targets
from upnp_gw.engine.decider import Decider
from upnp_gw.engine.gateway import Gateway
from upnp_gw.engine.operator_question import questions_waiting
from upnp_gw.engine.policy_reload import PolicyUpdates
from upnp_gw.engine.reevaluation import RevokedMapping
from upnp_gw.engine.revocation import added_for, block, revoke
from upnp_gw.gate.managed_edit import toml_of
from upnp_gw.gate.managed_file import ManagedChange, rules_of
from upnp_gw.gate.operator_rules import CommandTarget, OperatorRules
from upnp_gw.gate.question import Question
from upnp_gw.gate.values import duration_text
from upnp_gw.ledger.transaction import Transaction
from upnp_gw.model.device import mac_of
from upnp_gw.model.errors import ConfigError, GatewayError
from upnp_gw.model.request import Granted, Refused, Reply

Ending = Callable[[Decider, Transaction, str], None]


CHANGE = api.Preview()
"""The query of an operation that is not a preview."""
LONGEST_NUMBER = 12
"""Digits of the number of a question."""


class _QuestionClosed(Exception):
    """The question was answered or has changed before this answer was processed."""

    def __init__(self, problem: api.Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class DeviceCommands:
    """``probe``: True if the host answers."""

    def __init__(
        self,
        gateway: Gateway,
        decider: Decider,
        policy_updates: PolicyUpdates,
        probe: Probe,
        serializer: Serializer,
    ) -> None:
        self._gateway = gateway
        self._decider = decider
        self._environment = decider.environment
        self._policy_updates = policy_updates
        self._probe = probe
        self._serializer = serializer
        self._targets = Targets(decider, probe)

    # -- rules about a device

    async def name(self, device: str, body: api.NameDevice) -> api.Written | api.Problem:
        """A name in the machine-owned file can be changed. Rules that commands wrote follow it."""
        target = await self._targets.find(device)
        if isinstance(target, api.Problem):
            return target
        own = self._decider.in_force.approved.get("device", {})
        if body.name in self._decider.in_force.policy.devices and body.name != target.name:
            return _problem("taken", f"{body.name} is the name of another device", "name")
        if target.name is not None and target.name not in own:
            return _problem(
                "taken",
                f"{self._policy_updates.files.source} names this device {target.name}: change it there",
                "device",
            )
        return await self._change(lambda: self._proposals.name(target, body.name), preview=body.preview)

    async def allow(self, device: str, body: api.Allow) -> api.Written | api.Problem:
        transports = tuple(body.transports or ())
        return await self._write(
            device,
            lambda target: self._proposals.allow(target, body.ranges, transports, body.for_s),
            preview=body.preview,
        )

    async def block(self, device: str, body: api.Block) -> api.Blocked | api.Problem:
        """Refuses every request of the device. Ends its questions and mappings, except those of the operator."""
        target = await self._targets.find(device)
        if isinstance(target, api.Problem):
            return target
        written = await self._change(lambda: self._proposals.block(target, body.for_s), preview=body.preview)
        if isinstance(written, api.Problem):
            return written
        if body.preview:
            return api.Blocked(**structs.asdict(written), questions=0, left=self._added(target))
        ended = await self._end(target, block)
        if isinstance(ended, api.Problem):
            return _problem(
                ended.error, "the block is in force, but its mappings are still open: use upnp-gw revoke"
            )
        written = structs.replace(written, closed=[*written.closed, *ended.mappings])
        return api.Blocked(
            **structs.asdict(written),
            questions=ended.questions,
            left=self._added(target),
        )

    def _added(self, target: CommandTarget) -> list[api.Mapping]:
        """The mappings to the device that the operator added."""
        return [self._serializer.mapping(mapping) for mapping in added_for(self._decider, target.devices)]

    async def release(self, device: str, query: api.Preview = CHANGE) -> api.Released | api.Problem:
        """Ends the incident of a device and removes its block."""
        target = await self._targets.find(device)
        if isinstance(target, api.Problem):
            return target
        blocks = self._proposals.blocks_of(target, self._decider.in_force.approved)
        removed_rules = rules_of(self._decider.in_force.approved, blocks)
        if query.preview:
            open_incidents = self._decider.history.incidents(self._environment.clock())
            own = [
                self._serializer.incident(incident)
                for incident in open_incidents
                if incident.device in target.devices
            ]
            return api.Released(incidents=own, removed=toml_of(removed_rules))
        written = await self._change(lambda: ManagedChange({}, without=blocks), removed_rules) if blocks else None
        if isinstance(written, api.Problem):
            return written
        ended = [i for d in target.devices if (i := self._decider.history.release(d)) is not None]
        await self._gateway.remember()
        return api.Released(
            incidents=[self._serializer.incident(incident) for incident in ended],
            removed=written.toml if written else "",
            closed=written.closed if written else [],
        )

    async def retract(self, rule: str, query: api.Preview = CHANGE) -> api.Written | api.Problem:
        """Removes a rule that a command wrote from the machine-owned file."""
        removed = rules_of(self._decider.in_force.approved, {rule})
        if not removed.forbids and not removed.grants:
            unknown = f"no command wrote a rule {rule[:40]!r} to {self._policy_updates.files.machine}"
            return _problem("not-found", f"{unknown}: upnp-gw policy show lists these rules at its end")
        change = ManagedChange({}, without=frozenset({rule}))
        return await self._change(lambda: change, removed, preview=query.preview)

    async def revoke(self, device: str) -> api.Revoked | api.Problem:
        """Ends mappings, flows and questions of a device at once. Its rules stay as they are."""
        target = await self._targets.find(device)
        return target if isinstance(target, api.Problem) else await self._end(target, revoke)

    async def _end(self, target: CommandTarget, ending: Ending) -> api.Revoked | api.Problem:
        """Ends mappings of a device by ``ending``, their flows, and the questions of the device."""
        ended: list[str] = []
        before = self._snapshot()

        def step(transaction: Transaction) -> None:
            for device in target.devices:
                ending(self._decider, transaction, device)
            ended[:] = transaction.ended

        failed = await self._gateway.submit(step)
        if failed is not None:
            return _problem("backend-failed", "the kernel or the disk failed; nothing changed: see the log")
        self._gateway.cut_due()
        await self._gateway.settled()
        questions = sum(self._decider.questions.drop_device(each) for each in target.devices)
        await self._gateway.remember()
        return api.Revoked(
            mappings=[mapping for each, mapping in before.items() if each in ended], questions=questions
        )

    def _snapshot(self) -> dict[str, api.Mapping]:
        """Every mapping as it is now, with its counters, by id, oldest first."""
        rows = sorted(self._decider.ledger.table, key=lambda row: row.granted_at)
        return {row.id: self._serializer.mapping(row) for row in rows}

    # -- questions

    async def queue(self) -> list[api.Question]:
        proposals = self._proposals
        return [to_question(question, proposals) for question in self._waiting()]

    async def approve(self, number: str, body: api.Approve) -> api.Approved | api.Problem:
        question = self._question(number)
        if isinstance(question, api.Problem):
            return question
        longest = self._proposals.longest_s(question)
        if body.for_s is not None and longest is not None and body.for_s > longest:
            rule = question.subject.rule
            return _problem("invalid", f"rule {rule} limits an approval to {duration_text(longest)}", "for_s")
        written = await self._answer(
            question, lambda: self._proposals.approve(question, body.for_s), preview=body.preview
        )
        if isinstance(written, api.Problem):
            return written
        if body.preview:
            return api.Approved(**structs.asdict(written), opened=None, why_not=None)
        self._decider.questions.drop(question)
        opened, why_not, holder = await self._open(question)
        await self._gateway.remember()
        return api.Approved(**structs.asdict(written), opened=opened, why_not=why_not, holder=holder)

    async def deny(self, number: str, body: api.Deny) -> api.Written | api.Problem:
        question = self._question(number)
        if isinstance(question, api.Problem):
            return question
        written: api.Written | api.Problem = api.Written(
            toml="", file=str(self._policy_updates.files.machine), policy=self._decider.in_force.policy.digest
        )
        if body.remember:
            written = await self._answer(
                question, lambda: self._proposals.deny(question, body.for_s), preview=body.preview
            )
        if not isinstance(written, api.Problem) and not body.preview:
            self._decider.questions.drop(question)
            if body.remember:  # the forbid also answers questions about other remote hosts
                self._decider.questions.settle(question.subject._replace(remotes=()))
            await self._gateway.remember()
        return written

    async def incidents(self) -> list[api.Incident]:
        """Open incidents, oldest first."""
        open_ones = self._decider.history.incidents(self._environment.clock())
        return [self._serializer.incident(incident) for incident in open_ones]

    # -- how

    @property
    def _proposals(self) -> OperatorRules:
        environment = self._environment
        return OperatorRules(self._decider.in_force.policy, environment.clock().wall, environment.network.main_lan)

    async def _write(
        self, device: str, make: Callable[[CommandTarget], ManagedChange], *, preview: bool
    ) -> api.Written | api.Problem:
        target = await self._targets.find(device)
        if isinstance(target, api.Problem):
            return target
        return await self._change(lambda: make(target), preview=preview)

    async def _change(
        self, make: Callable[[], ManagedChange], shown: ManagedChange | None = None, *, preview: bool = False
    ) -> api.Written | api.Problem:
        """Changes the machine-owned file. ``shown``: rules to show instead of the added ones; ``preview``: only
        says what would be written, or why it would be refused."""
        file = str(self._policy_updates.files.machine)
        before = self._snapshot()
        revoked: Sequence[RevokedMapping] = ()
        try:
            if preview:
                written = await self._policy_updates.try_change(make)
            else:
                written, revoked = await self._policy_updates.change(make)
        except ConfigError as error:
            return _problem("policy", f"{'this would be refused' if preview else 'nothing was changed'}: {error}")
        except GatewayError as error:
            return _problem("backend-failed", f"nothing was changed: {error}")
        toml = written.toml if shown is None else toml_of(shown)
        ended = {one.mapping.id: one.mapping for one in revoked if not one.kept}
        closed = [mapping for each, mapping in before.items() if each in ended]
        closed += [self._serializer.mapping(row) for each, row in ended.items() if each not in before]
        return api.Written(
            toml=toml,
            file=file,
            policy=self._decider.in_force.policy.digest,
            closed=closed,
        )

    def _waiting(self) -> list[Question]:
        return questions_waiting(self._decider, self._environment.clock().wall)

    def _question(self, text: str) -> Question | api.Problem:
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER else 0
        question = next((question for question in self._waiting() if question.number == number), None)
        return question or self._closed(number, text)

    def _closed(self, number: int, text: str) -> api.Problem:
        now = self._decider.questions.successor(number)
        if now is None:
            return _problem("not-found", f"there is no question {text[:LONGEST_NUMBER]}: see upnp-gw queue")
        changed = f"question {number} has changed since it was shown: it is question {now.number} now"
        return _problem("changed", f"{changed}. Nothing was changed: see upnp-gw queue")

    async def _answer(
        self, question: Question, make: Callable[[], ManagedChange], *, preview: bool
    ) -> api.Written | api.Problem:
        """Writes an answer, unless the question has changed meanwhile."""

        def checked() -> ManagedChange:
            if isinstance(current := self._question(str(question.number)), api.Problem):
                raise _QuestionClosed(current)
            return make()

        try:
            return await self._change(checked, preview=preview)
        except _QuestionClosed as closed:
            return closed.problem

    async def _open(self, question: Question) -> tuple[api.Mapping | None, str | None, api.Holder | None]:
        """Makes the mapping if the device is present at the same address: mapping, or reason and holder."""
        request = question.request
        source = request.source
        if self._environment.device_of(source.address, source.interface) != question.subject.device:
            return None, "the device has another address now; its next request will be granted", None
        if mac_of(question.subject.device) is not None and source.interface:
            try:
                if not await self._probe(source.address, source.interface):
                    return None, "the device does not answer; its next request will be granted", None
            except OSError:
                return None, "the device could not be probed; its next request will be granted", None
        reply: Reply | None = await self._gateway.approve(request)
        if isinstance(reply, Granted):
            return self._serializer.mapping(reply.mapping), None, None
        if isinstance(reply, Refused):
            return None, reply.reason, self._serializer.holder(reply.holder)
        return None, "the kernel or the disk failed: see the log", None


def _problem(word: str, message: str, field: str | None = None) -> api.Problem:
    return api.Problem(error=word, message=message, field=field)
