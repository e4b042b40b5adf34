"""Margin scales in the naive venue, and what money that leaves an account must leave behind. Rules: docs/marks.md."""

from dataclasses import replace
from fractions import Fraction
from math import ceil

import msgspec

from exchange import governance
from exchange.events import EventKind
from exchange.mark_events import AnnouncementState
from exchange.reasons import Reason
from tests.oracles.account import Account
from tests.oracles.contract import PPM
from tests.oracles.pretrade import Refused, require
from tests.oracles.state import State

FACTORS = ("initial_factor_ppm", "maintenance_factor_ppm")
STANDARD = "short_initial short_floor short_maintenance put_mark future_initial future_maintenance per_coin".split()


class Kept(Refused):
    """Money stays; `detail` says how much could leave."""

    def __init__(self, reason: Reason, detail: int) -> None:
        super().__init__(reason)
        self.detail = detail


class Announcing:
    """Scales of margin rates by underlying, ppm."""

    def __init__(self, state: State) -> None:
        self.state = state
        given = state.config.governance
        self.terms = given if isinstance(given, governance.Governance) else governance.Governance()
        self.plain = [grid.parameters for grid in state.grids]
        self.scales = [PPM] * len(self.plain)
        self.plans: dict[int, tuple[int, int, int]] = {}

    def use(self, scales: list[int]) -> None:
        """Margin everything at these scales."""
        sets = []
        for grid, plain, u, scale in zip(
            self.state.grids, self.plain, self.state.config.underlyings, scales, strict=True
        ):
            by = Fraction(scale, PPM)
            factors = {name: ceil(getattr(plain, name) * by) for name in FACTORS}
            grid.parameters = msgspec.structs.replace(plain, **factors)
            if hasattr(grid, "span"):
                grid.span = grid.parameters
            rates = {f"{name}_ppm": min(PPM, ceil(getattr(u.standard, f"{name}_ppm") * by)) for name in STANDARD}
            tiers = tuple(
                msgspec.structs.replace(
                    tier, initial_ppm=min(PPM, ceil(tier.initial_ppm * by)),
                    maintenance_ppm=min(PPM, ceil(tier.maintenance_ppm * by)),
                )
                for tier in u.isolated.tiers
            )  # fmt: skip
            isolated = msgspec.structs.replace(u.isolated, tiers=tiers)
            standard = msgspec.structs.replace(u.standard, **rates)
            sets.append(msgspec.structs.replace(u, standard=standard, isolated=isolated))
        self.state.model.config = msgspec.structs.replace(self.state.config, underlyings=tuple(sets))

    # ------------------------------------------------------------------ announcements

    def say(self, u: int, state: AnnouncementState, plan: tuple[int, int, int], before: int) -> None:
        self.state.emit(
            EventKind.MARGIN_ANNOUNCED, 0, underlying=u, state=state, scale_ppm=plan[0], effective_ns=plan[1],
            operator_id=plan[2], previous_scale_ppm=before,
        )  # fmt: skip

    def announce(self, _: int, payload: governance.AnnounceMargin) -> int:
        names = [u.name for u in self.state.config.underlyings]
        require(payload.underlying in names, Reason.UNKNOWN_UNDERLYING)
        u = names.index(payload.underlying)
        now, before = self.state.time_ns, self.scales[u]
        if payload.scale_ppm == before:
            require(u in self.plans, Reason.NOTHING_TO_OVERRIDE)
            scale, at, _ = self.plans.pop(u)
            self.say(u, AnnouncementState.WITHDRAWN, (scale, at, payload.operator), before)
            return 0
        soonest = now
        if payload.scale_ppm > before:
            soonest += self.terms.margin_notice_ns
        at = soonest if payload.effective_ns == 0 else payload.effective_ns
        if at < soonest:
            raise Kept(Reason.NOTICE_TOO_SHORT, soonest)
        self.plans[u] = (payload.scale_ppm, at, payload.operator)
        self.say(u, AnnouncementState.ANNOUNCED, self.plans[u], before)
        return at

    def tick(self) -> None:
        s = self.state
        due = sorted(u for u, plan in self.plans.items() if plan[1] <= s.time_ns)
        for u in due:
            plan = self.plans.pop(u)
            before, self.scales[u] = self.scales[u], plan[0]
            self.say(u, AnnouncementState.IN_FORCE, plan, before)
        if due:
            self.use(self.scales)
        for u in due:
            for _, account in sorted(s.accounts.items()):
                held = [s.contracts[slot].underlying for slot in account.holdings]
                if account.model.startswith("cross") or u in held:
                    s.check_level(account)

    # ------------------------------------------------------------------ money that leaves

    def current(self, account: Account) -> bool:
        """Whether the marks that the account depends on are recent."""
        s = self.state
        names = [u.name for u in s.config.underlyings]
        slots = [*account.holdings, *(order.instrument for order in account.orders.values())]
        needed = {s.contracts[slot].underlying for slot in slots}
        if account.model.startswith("cross"):
            coins = zip(s.config.currencies, account.cash, strict=True)
            needed |= {names.index(c.underlying) for c, cash in coins if c.underlying and cash}
        return not any(s.aged[u] for u in needed)

    def scopes(self) -> list[tuple[Reason, list[int]]]:
        found = [(Reason.INSUFFICIENT_WITHDRAWABLE, list(self.scales))]
        if self.plans:
            planned = [self.plans.get(u, (scale,))[0] for u, scale in enumerate(self.scales)]
            found.append((Reason.ANNOUNCED_MARGIN, planned))
        stress = Fraction(self.terms.stress_ppm, PPM)
        if stress != 1:
            found.append((Reason.STRESSED_MARGIN, [ceil(scale * stress) for scale in self.scales]))
        return found

    def leaving(self, account: Account, currency: int, amount: int) -> None:
        """Kept where the amount may not leave."""
        if not self.current(account):
            raise Kept(Reason.MARK_STALE, 0)
        wrong, most = [], []
        for reason, scales in self.scopes():
            self.use(scales)
            if amount > account.cash[currency] or not self.stands_without(account, currency, amount):
                wrong.append(reason)
        for _, scales in self.scopes() if wrong else ():
            self.use(scales)
            most.append(self.withdrawable(account, currency))
        self.use(self.scales)
        if wrong:
            raise Kept(wrong[0], min(most))

    def stands_without(self, account: Account, currency: int, amount: int) -> bool:
        """Whether initial margin, open orders counted, would still be met with less cash."""
        poorer = replace(account, cash=list(account.cash))
        poorer.cash[currency] -= amount
        left = self.state.model.margin(poorer, currency, True)
        return left.equity >= left.initial

    def withdrawable(self, account: Account, currency: int) -> int:
        """The most cash that may leave; in a cross account, where cash is also a hedge, to a millionth below."""
        cash = account.cash[currency]
        if not account.model.startswith("cross"):
            m = self.state.model.margin(account, currency, True)
            return max(0, min(m.equity - m.initial, cash))
        if cash <= 0 or not self.stands_without(account, currency, 0):
            return 0
        if self.stands_without(account, currency, cash):
            return cash
        allowed, refused = 0, cash + 1
        while refused - allowed > 1 + cash // 2**20:
            middle = (allowed + refused) // 2
            if self.stands_without(account, currency, middle):
                allowed = middle
            else:
                refused = middle
        return allowed
