"""Overrides of the marks' governance: proposed by one operator, approved by another, bounded in time.

What may be overridden and what never is (liquidations and money that leaves wait for marks that are recent by
themselves): docs/marks.md. Who an operator is the gateway knows; here they are numbers.
"""

import msgspec
from libc.stdint cimport int64_t, uint32_t

from exchange.event_buffer cimport EventBuffer
from exchange.governance import ACTIONS, LASTING, Governance
from exchange.mark_events import OverrideState
from exchange.mark_views import OverrideView
from exchange.reasons import Reason
from exchange.records cimport EV_OVERRIDE_CHANGED, OverrideChanged
from exchange.risk.mark_jumps cimport MarkJumps
from exchange.risk.mark_stages cimport STAGE_HALT, STAGE_LIVE, MarkStages
from exchange.risk.risk_rows cimport RiskRows

WIDEST = 4                       # an index is set to between a quarter and four times the one before
cdef int64_t NEVER = 0x7FFFFFFFFFFFFFFF


cdef class Overrides:
    """Proposals that wait and overrides in force; `set_index(underlying, index_e8)` gives (reason, detail)."""

    cdef MarkStages stages
    cdef MarkJumps jumps
    cdef RiskRows rows
    cdef object uncross
    cdef object set_index
    cdef EventBuffer events
    cdef object terms
    cdef list names
    cdef dict waiting                # number -> OverrideView
    cdef dict in_force               # number -> OverrideView
    cdef readonly int64_t next_number

    def __init__(self, MarkStages stages, MarkJumps jumps, RiskRows rows, uncross, set_index, EventBuffer events,
                 config):
        self.stages = stages
        self.jumps = jumps
        self.rows = rows
        self.uncross = uncross
        self.set_index = set_index
        self.events = events
        self.terms = Governance() if config.governance is msgspec.UNSET else config.governance
        self.names = [underlying.name for underlying in config.underlyings]
        self.waiting = {}
        self.in_force = {}
        self.next_number = 1

    # ------------------------------------------------------------------ commands

    def propose(self, payload):
        """(reason, number of the proposal)."""
        if payload.operator == 0:
            return Reason.UNKNOWN_OPERATOR, 0
        if payload.underlying not in self.names:
            return Reason.UNKNOWN_UNDERLYING, 0
        u = self.names.index(payload.underlying)
        if len(self.waiting) + len(self.in_force) >= self.terms.max_proposals:
            return Reason.LIMIT_REACHED, self.terms.max_proposals
        if (payload.action in LASTING) != (payload.duration_ns > 0) or payload.duration_ns > self.terms.override_max_ns:
            return Reason.BAD_PAYLOAD, 0
        reason = self._possible(u, payload.action, payload.value)
        if reason:
            return reason, 0
        one = OverrideView(
            proposal=self.next_number, action=payload.action, underlying=payload.underlying, value=payload.value,
            duration_ns=payload.duration_ns, proposer=payload.operator, proposed_ns=self.events.time_ns,
            until_ns=self.events.time_ns + self.terms.override_wait_ns)
        self.next_number += 1
        self.waiting[one.proposal] = one
        self._say(one, OverrideState.PROPOSED, payload.operator)
        self._plan()
        return Reason.NONE, one.proposal

    def decide(self, payload):
        """(reason, number of the proposal)."""
        if payload.operator == 0:
            return Reason.UNKNOWN_OPERATOR, 0
        if payload.decision == "revoke":
            one = self.in_force.get(payload.proposal)
            if one is None:
                return Reason.UNKNOWN_PROPOSAL, 0
            self._end(one, OverrideState.REVOKED, payload.operator)
            return Reason.NONE, one.proposal
        one = self.waiting.get(payload.proposal)
        if one is None:
            return Reason.UNKNOWN_PROPOSAL, 0
        own = one.proposer == payload.operator
        if payload.decision == "reject":
            del self.waiting[one.proposal]
            self._say(one, OverrideState.WITHDRAWN if own else OverrideState.REJECTED, payload.operator)
            self._plan()
            return Reason.NONE, one.proposal
        if own:
            return Reason.OWN_PROPOSAL, 0
        return self._approve(one, payload.operator)

    def _possible(self, int u, action, value):
        """Why an override cannot be, as things stand; NONE where it can."""
        held = self.jumps.held_jump(u)
        if action == "accept_jump":
            return Reason.NONE if held is not None and held[0] == value else Reason.NOTHING_TO_OVERRIDE
        if action == "resume":
            if value:
                return Reason.BAD_PAYLOAD
            return Reason.NONE if self.jumps.paused_until(u) else Reason.NOTHING_TO_OVERRIDE
        if any([one.underlying == self.names[u] for one in self.in_force.values()]):
            return Reason.OVERRIDE_IN_FORCE
        if action == "lift_stage":
            return Reason.NONE if STAGE_LIVE <= value < STAGE_HALT else Reason.BAD_PAYLOAD
        index = int(self.rows.index_e8[u])
        if index == 0:
            return Reason.NO_MARK
        return Reason.NONE if index <= value * WIDEST and value <= index * WIDEST else Reason.MARK_OUT_OF_RANGE

    def _approve(self, one, uint32_t operator):
        cdef int u = self.names.index(one.underlying)
        reason = self._possible(u, one.action, one.value)
        if reason:
            return reason, 0
        del self.waiting[one.proposal]
        lasting = one.action in LASTING
        done = msgspec.structs.replace(
            one, approver=operator, until_ns=self.events.time_ns + one.duration_ns if lasting else 0)
        self._say(done, OverrideState.IN_FORCE if lasting else OverrideState.DONE, operator)
        if lasting:
            self.in_force[one.proposal] = done
        if one.action == "accept_jump":
            self.jumps.accept(u)
        elif one.action == "resume":
            self.uncross.resume(u, self.jumps.paused_until(u))
            self.jumps.resumed(u)
        elif one.action == "lift_stage":
            self.stages.hold(u, one.value)
        else:
            self.stages.hold(u, STAGE_LIVE)
            self.stages.distrust(u)
            self.jumps.fix(u, True)
            self.set_index(u, one.value)
        self._plan()
        return Reason.NONE, one.proposal

    # ------------------------------------------------------------------ time

    def advance(self):
        """Let lapse and end what is over, ascending number."""
        now = self.events.time_ns
        for one in [one for one in self.waiting.values() if one.until_ns < now]:
            del self.waiting[one.proposal]
            self._say(one, OverrideState.LAPSED, 0)
        for one in [one for one in self.in_force.values() if one.until_ns < now]:
            self._end(one, OverrideState.ENDED, 0)
        self._plan()

    def _end(self, one, state, uint32_t operator):
        cdef int u = self.names.index(one.underlying)
        del self.in_force[one.proposal]
        self._say(one, state, operator)
        self.jumps.fix(u, False)
        self.stages.hold(u, STAGE_HALT)
        self._plan()

    def _plan(self):
        ends = [one.until_ns + 1 for found in (self.waiting, self.in_force) for one in found.values()]
        self.stages.wake(min(ends, default=NEVER))

    def _say(self, one, state, uint32_t operator):
        cdef OverrideChanged* event = <OverrideChanged*>self.events.emit(EV_OVERRIDE_CHANGED, 1, 0)
        event.proposal = one.proposal
        event.underlying = self.names.index(one.underlying)
        event.action = ACTIONS.index(one.action)
        event.state = state
        event.proposer = one.proposer
        event.operator_id = operator
        event.value = one.value
        event.until_ns = one.until_ns

    # ------------------------------------------------------------------ reads

    def views(self):
        """(proposals that wait, overrides in force), each ascending number, as exchange.mark_views.OverrideView."""
        return tuple(self.waiting.values()), tuple(self.in_force.values())

    def export(self):
        """Canonical state; [] where nothing was ever proposed."""
        if self.next_number == 1:
            return []
        return [[self.next_number, *[[msgspec.structs.astuple(one) for one in found.values()]
                                     for found in (self.waiting, self.in_force)]]]
