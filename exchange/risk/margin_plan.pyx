"""Margin rates in force, announced and stressed: the sets of an underlying's parameters, scaled.

A scale multiplies the initial and maintenance factor of the scenario sets and the rates of the formula sets, each
rounded up; charges beside the grid stay. Scales change with a Tick at the announced time. Rules: docs/marks.md.
"""

import msgspec

from exchange.event_buffer cimport EventBuffer
from exchange.governance import Governance
from exchange.mark_events import AnnouncementState
from exchange.reasons import Reason
from exchange.records cimport EV_MARGIN_ANNOUNCED, MarginAnnounced
from exchange.risk.bands cimport Bands
from exchange.risk.formulas cimport Formulas
from exchange.risk.risk_rows cimport RiskRows

WHOLE = 1_000_000
FACTORS = ("initial_factor_ppm", "maintenance_factor_ppm")
STANDARD_RATES = (
    "short_initial_ppm", "short_floor_ppm", "short_maintenance_ppm", "put_mark_ppm", "future_initial_ppm",
    "future_maintenance_ppm", "per_coin_ppm",
)


def scaled(underlying, scale_ppm):
    """A config.Underlying with its margin factors and rates times `scale_ppm`, rounded up; rates are at most 1."""
    if scale_ppm == WHOLE:
        return underlying
    change = msgspec.structs.replace
    tiers = tuple([_times(tier, ("initial_ppm", "maintenance_ppm"), scale_ppm, WHOLE)
                   for tier in underlying.isolated.tiers])
    span = underlying.span
    return change(
        underlying, matrix=_times(underlying.matrix, FACTORS, scale_ppm, 0),
        standard=_times(underlying.standard, STANDARD_RATES, scale_ppm, WHOLE),
        isolated=change(underlying.isolated, tiers=tiers),
        span=span if span is msgspec.UNSET else _times(span, FACTORS, scale_ppm, 0))


def _times(one, names, scale_ppm, most_ppm):
    """Fields of a set times a scale, rounded up; at most `most_ppm` where that is not 0."""
    found = {name: -(-getattr(one, name) * scale_ppm // WHOLE) for name in names}
    return msgspec.structs.replace(one, **{name: min(ppm, most_ppm or ppm) for name, ppm in found.items()})


cdef class MarginPlan:
    """Scales by underlying; `config` is exchange.config.Config."""

    cdef RiskRows rows
    cdef Formulas formulas
    cdef Bands bands
    cdef EventBuffer events
    cdef object terms
    cdef tuple sets                  # [underlying] as the configuration has them
    cdef readonly list in_force      # [underlying] config.Underlying as margined by now
    cdef readonly list scale_ppm     # [underlying] in force
    cdef readonly list announced     # [underlying] None, or (scale_ppm, effective_ns, operator)

    def __init__(self, RiskRows rows, Formulas formulas, Bands bands, EventBuffer events, config):
        self.rows = rows
        self.formulas = formulas
        self.bands = bands
        self.events = events
        self.terms = Governance() if config.governance is msgspec.UNSET else config.governance
        self.sets = config.underlyings
        self.in_force = list(config.underlyings)
        self.scale_ppm = [WHOLE] * len(self.sets)
        self.announced = [None] * len(self.sets)

    def announce(self, int underlying, payload):
        """(reason, detail) of ANNOUNCE_MARGIN; detail: when it binds at the earliest, where notice is too short."""
        before = self.scale_ppm[underlying]
        now = self.events.time_ns
        if payload.scale_ppm == before:
            if self.announced[underlying] is None:
                return Reason.NOTHING_TO_OVERRIDE, 0
            scale, effective_ns, _ = self.announced[underlying]
            self.announced[underlying] = None
            self._say(underlying, AnnouncementState.WITHDRAWN, scale, before, payload.operator, effective_ns)
            return Reason.NONE, 0
        earliest_ns = now + (self.terms.margin_notice_ns if payload.scale_ppm > before else 0)
        effective_ns = payload.effective_ns or earliest_ns
        if effective_ns < earliest_ns:
            return Reason.NOTICE_TOO_SHORT, earliest_ns
        self.announced[underlying] = (payload.scale_ppm, effective_ns, payload.operator)
        self._say(underlying, AnnouncementState.ANNOUNCED, payload.scale_ppm, before, payload.operator, effective_ns)
        return Reason.NONE, effective_ns

    def tick(self):
        """Let what is due bind, ascending underlying; which underlyings' accounts must be re-margined."""
        changed = []
        for u, plan in enumerate(self.announced):
            if plan is None or plan[1] > self.events.time_ns:
                continue
            self.announced[u] = None
            before, self.scale_ppm[u] = self.scale_ppm[u], plan[0]
            self._use(u, plan[0])
            self.in_force[u] = scaled(self.sets[u], plan[0])
            self.bands.forget(u, self.in_force[u].isolated.tiers)
            self._say(u, AnnouncementState.IN_FORCE, plan[0], before, plan[2], plan[1])
            changed.append(u)
        return changed

    def _say(self, int underlying, state, scale_ppm, previous_ppm, operator, effective_ns):
        cdef MarginAnnounced* event = <MarginAnnounced*>self.events.emit(EV_MARGIN_ANNOUNCED, 1, 0)
        event.underlying = underlying
        event.state = state
        event.scale_ppm = scale_ppm
        event.previous_scale_ppm = previous_ppm
        event.operator_id = operator
        event.effective_ns = effective_ns

    def _use(self, int underlying, scale_ppm):
        one = scaled(self.sets[underlying], scale_ppm)
        self.rows.take_factors(underlying, one.matrix if one.span is msgspec.UNSET else one.span)
        self.formulas.take_rates(underlying, one)

    # ------------------------------------------------------------------ what money that leaves must leave room for

    def scopes(self):
        """(reason, scales by underlying) of the requirements that count, the current one first."""
        found = [(Reason.INSUFFICIENT_WITHDRAWABLE, self.scale_ppm)]
        if any([plan is not None for plan in self.announced]):
            found.append((Reason.ANNOUNCED_MARGIN, [scale if plan is None else plan[0] for scale, plan
                                                    in zip(self.scale_ppm, self.announced)]))
        if self.terms.stress_ppm != WHOLE:
            found.append((Reason.STRESSED_MARGIN, [-(-scale * self.terms.stress_ppm // WHOLE)
                                                   for scale in self.scale_ppm]))
        return found

    def strictest(self):
        """Those of `scopes` whose requirement no other's is sure to reach: rates that are all as high need as much."""
        found = self.scopes()
        return [one for n, one in enumerate(found) if not any([
            all([mine <= other for mine, other in zip(one[1], two[1])]) and (one[1] != two[1] or m < n)
            for m, two in enumerate(found) if m != n])]

    def suppose(self, list scales):
        """Margin at these scales until `settle`; nothing that is kept may be worked out meanwhile."""
        for u, scale in enumerate(scales):
            if scale != self.scale_ppm[u]:
                self._use(u, scale)

    def settle(self, list scales):
        """Back to the scales in force after `suppose` of the same."""
        for u, scale in enumerate(scales):
            if scale != self.scale_ppm[u]:
                self._use(u, self.scale_ppm[u])

    def check(self):
        """Faults: rates that are not those in force; [] when sound."""
        found = []
        for u, one in enumerate(self.in_force):
            own = one.matrix if one.span is msgspec.UNSET else one.span
            wanted = (own.initial_factor_ppm, own.maintenance_factor_ppm)
            if self.rows.factors(u) != wanted or one != scaled(self.sets[u], self.scale_ppm[u]):
                found.append(f"{one.name} is margined by {self.rows.factors(u)}, in force is {wanted}")
        return found

    def export(self):
        """Canonical state; [] while everything is as configured."""
        if all([scale == WHOLE for scale in self.scale_ppm]) and all([plan is None for plan in self.announced]):
            return []
        return [[list(self.scale_ppm), [plan and list(plan) for plan in self.announced]]]
