"""Four-eyes overrides in the naive venue. Rules: docs/marks.md."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from exchange import commands, governance
from exchange.events import EventKind
from exchange.mark_events import OverrideState
from exchange.reasons import Reason
from tests.oracles.announcing import Announcing, Kept
from tests.oracles.jumping import Jumping
from tests.oracles.marking import Marking
from tests.oracles.pretrade import require
from tests.oracles.reading import fields_of
from tests.oracles.staging import HALT, LIVE, Staging
from tests.oracles.state import State

LASTS = {"lift_stage", "set_index"}


@dataclass
class Proposal:
    number: int
    u: int
    action: str
    value: int
    lasts_ns: int
    proposer: int
    until_ns: int


class Overriding:
    """Proposals and what is in force, by number."""

    def __init__(self, state: State, marking: Marking, staging: Staging, jumping: Jumping, terms: Announcing) -> None:
        self.state, self.marking, self.staging, self.jumping = state, marking, staging, jumping
        self.terms = terms.terms
        self.waiting: dict[int, Proposal] = {}
        self.in_force: dict[int, Proposal] = {}
        self.count = 0
        self.after_marks = lambda u: None

    def say(self, p: Proposal, state: OverrideState, operator: int, until_ns: int) -> None:
        actions = ["accept_jump", "lift_stage", "resume", "set_index"]
        self.state.emit(
            EventKind.OVERRIDE_CHANGED, 0, proposal=p.number, underlying=p.u, action=actions.index(p.action),
            state=state, proposer=p.proposer, operator_id=operator, value=p.value, until_ns=until_ns,
        )  # fmt: skip

    def check(self, u: int, action: str, value: int) -> None:
        held = self.jumping.held.get(u)
        if action == "accept_jump":
            require(held is not None and held.index == value, Reason.NOTHING_TO_OVERRIDE)
        elif action == "resume":
            require(value == 0, Reason.BAD_PAYLOAD)
            require(self.jumping.paused[u] > self.state.time_ns, Reason.NOTHING_TO_OVERRIDE)
        else:
            require(all(p.u != u for p in self.in_force.values()), Reason.OVERRIDE_IN_FORCE)
            if action == "lift_stage":
                require(value in (0, 1), Reason.BAD_PAYLOAD)
                return
            index = self.state.index_e8[u]
            require(index > 0, Reason.NO_MARK)
            require(Fraction(1, 4) <= Fraction(value, index) <= 4, Reason.MARK_OUT_OF_RANGE)

    def propose(self, _: int, payload: governance.ProposeOverride) -> int:
        names = [one.name for one in self.state.config.underlyings]
        require(payload.operator > 0, Reason.UNKNOWN_OPERATOR)
        require(payload.underlying in names, Reason.UNKNOWN_UNDERLYING)
        if len(self.waiting) + len(self.in_force) >= self.terms.max_proposals:
            raise Kept(Reason.LIMIT_REACHED, self.terms.max_proposals)
        least, most = (1, self.terms.override_max_ns) if payload.action in LASTS else (0, 0)
        require(least <= payload.duration_ns <= most, Reason.BAD_PAYLOAD)
        u = names.index(payload.underlying)
        self.check(u, payload.action, payload.value)
        self.count += 1
        p = Proposal(
            self.count, u, payload.action, payload.value, payload.duration_ns, payload.operator,
            self.state.time_ns + self.terms.override_wait_ns,
        )  # fmt: skip
        self.waiting[p.number] = p
        self.say(p, OverrideState.PROPOSED, p.proposer, p.until_ns)
        return p.number

    def decide(self, _: int, payload: governance.DecideOverride) -> int:
        who = payload.operator
        require(who > 0, Reason.UNKNOWN_OPERATOR)
        among = self.in_force if payload.decision == "revoke" else self.waiting
        require(payload.proposal in among, Reason.UNKNOWN_PROPOSAL)
        p = among[payload.proposal]
        if payload.decision == "revoke":
            self.end(p, OverrideState.REVOKED, who)
        elif payload.decision == "reject":
            del self.waiting[p.number]
            self.say(p, OverrideState.WITHDRAWN if who == p.proposer else OverrideState.REJECTED, who, p.until_ns)
        else:
            require(who != p.proposer, Reason.OWN_PROPOSAL)
            self.check(p.u, p.action, p.value)
            del self.waiting[p.number]
            self.approve(p, who)
        return p.number

    def approve(self, p: Proposal, who: int) -> None:
        s, u = self.state, p.u
        if p.action in LASTS:
            p.until_ns = s.time_ns + p.lasts_ns
            self.in_force[p.number] = p
            self.say(p, OverrideState.IN_FORCE, who, p.until_ns)
            s.caps[u] = p.value if p.action == "lift_stage" else LIVE
            self.staging.look_at(u)
            if p.action == "set_index":
                self.marking.by_hand[u] = True
                self.staging.look_at(u)
                self.set_index(u, p.value)
            return
        self.say(p, OverrideState.DONE, who, 0)
        if p.action == "accept_jump":
            self.jumping.held[u].sources = set(range(32))
            return
        for c in s.contracts.values():
            if c.underlying == u and c.state == "auction" and c.auction_until_ns == self.jumping.paused[u]:
                c.auction_until_ns = s.time_ns
        self.jumping.paused[u] = 0

    def set_index(self, u: int, index: int) -> None:
        before = self.state.index_e8[u]
        listed = {c.spec.expiry_ns for c in self.state.contracts.values() if c.underlying == u}
        forwards = [
            (expiry, min(10**17, max(1, price * index // before)))
            for expiry, price in sorted(self.marking.forwards[u].items()) if expiry in listed
        ]  # fmt: skip
        record = bytes(commands.update_marks(u, index, self.state.time_ns, forwards, []))
        command: dict[str, Any] = fields_of(record, commands.UPDATE_MARKS)
        self.jumping.dictate(u, index, before)
        self.marking.fixed[u] = True
        if self.marking.update(command, record, by_hand=True):
            self.after_marks(u)

    def look(self) -> None:
        """What is over by time."""
        now = self.state.time_ns
        for p in [p for p in self.waiting.values() if now > p.until_ns]:
            del self.waiting[p.number]
            self.say(p, OverrideState.LAPSED, 0, p.until_ns)
        for p in [p for p in self.in_force.values() if now > p.until_ns]:
            self.end(p, OverrideState.ENDED, 0)

    def end(self, p: Proposal, state: OverrideState, who: int) -> None:
        del self.in_force[p.number]
        self.say(p, state, who, p.until_ns)
        self.marking.fixed[p.u] = False
        self.state.caps[p.u] = HALT
        self.staging.look_at(p.u)
