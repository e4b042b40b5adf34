"""The naive waterfall of a default: the venue's capital, then a lease on the fund. Rules: docs/liquidation.md.

A lease is asked for, answered, drawn on, and over when its auction is; it is forgotten when that is confirmed.
"""

from dataclasses import dataclass

from exchange.events import EventKind
from exchange.reasons import Reason
from tests.oracles.pretrade import require
from tests.oracles.state import State

PPM = 1_000_000
AWAITED, WHOLE, SHORT, OVER = "awaited", "whole", "short", "over"


@dataclass
class Lease:
    """Totals in minor units of `currency`."""

    number: int
    auction_id: int
    account_id: int
    currency: int
    asked: int = 0
    given: int = 0
    used: int = 0
    capital: int = 0
    borne: int = 0
    """By deleveraging."""
    capped: bool = False
    asked_ns: int = 0
    answer: str = AWAITED


class Leasing:
    """Leases of a State, and what others have paid for defaults."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.rules = state.config.liquidation
        self.live: dict[int, Lease] = {}
        self.opened = 0
        self.paid: dict[int, list[int]] = {}
        """By currency: defaults, and what capital, fund and deleveraging bore of them."""

    def purse(self, name: str, currency: int) -> int:
        """What `fund` or `capital` has."""
        return self.state.ledger.get((name, currency), 0)

    def say(self, kind: EventKind, lease: Lease, amount: int, reason: Reason, left: int | None = None) -> None:
        self.state.emit(
            kind, lease.account_id, lease_id=lease.number, amount_minor=amount, currency=lease.currency, reason=reason,
            auction_id=lease.auction_id, remaining_minor=lease.given - lease.used if left is None else left,
        )  # fmt: skip

    # ------------------------------------------------------------------ how much

    def open(self, auction_id: int, account_id: int, currency: int) -> Lease:
        self.opened += 1
        lease = self.live[self.opened] = Lease(self.opened, auction_id, account_id, currency)
        return lease

    def ask(self, lease: Lease, amount: int) -> bool:
        """Ask for a total that leaves `amount` beside the venue's capital; whether the fund was asked.

        It is not where the event cap, or what is granted beside capital, leaves nothing to ask for.
        """
        own = self.purse("capital", lease.currency)
        lease.asked_ns = self.state.time_ns
        total = lease.used + max(0, amount - own)
        share = self.rules.fund_event_cap_ppm
        limit = (self.purse("fund", lease.currency) + lease.used) * share // PPM
        lease.capped = share < PPM and total > limit
        total = limit if lease.capped else total
        if total <= lease.given:
            lease.asked, lease.answer = lease.given, SHORT if lease.capped else WHOLE
            return False
        lease.asked, lease.answer = max(total, lease.given), AWAITED
        self.say(EventKind.FUND_LEASE_REQUESTED, lease, lease.asked, Reason.NONE)
        return True

    def free(self, lease: Lease | None) -> int:
        """What may still be drawn."""
        return self.purse("capital", lease.currency) + lease.given - lease.used if lease else 0

    def why_short(self, lease: Lease | None) -> Reason:
        if lease is None or lease.answer != SHORT:
            return Reason.AWAITING_LEASE
        return Reason.EVENT_CAP_REACHED if lease.capped else Reason.FUND_EXHAUSTED

    # ------------------------------------------------------------------ payments

    def draw(self, lease: Lease, amount: int) -> None:
        """To the lease's account: capital first."""
        account, currency = self.state.accounts[lease.account_id], lease.currency
        own = min(amount, self.purse("capital", currency))
        if own:
            lease.capital += own
            self.state.pay(account, "capital", 0, currency, own)
            self.say(EventKind.CAPITAL_DRAWN, lease, own, Reason.NONE, self.purse("capital", currency))
        if amount > own:
            lease.used += amount - own
            self.state.pay(account, "fund", 0, currency, amount - own)
            self.say(EventKind.FUND_DRAWN, lease, amount - own, Reason.NONE)

    def over(self, lease: Lease | None, equity: int, reason: Reason) -> None:
        """The auction has closed."""
        if lease is None:
            return
        if lease.capital or lease.used or lease.borne:
            sums = self.paid.get(lease.currency, [0, 0, 0, 0])
            terms = (1, lease.capital, lease.used, lease.borne)
            self.paid[lease.currency] = [a + b for a, b in zip(sums, terms, strict=True)]
            self.state.emit(
                EventKind.DEFAULT_COVERED, lease.account_id, auction_id=lease.auction_id, currency=lease.currency,
                reason=reason, equity_minor=equity, capital_minor=lease.capital, fund_minor=lease.used,
                deleveraged_minor=lease.borne,
            )  # fmt: skip
        lease.answer = OVER
        self.say(EventKind.FUND_LEASE_SETTLED, lease, lease.used, Reason.NONE)

    # ------------------------------------------------------------------ the worker's answers

    def granted(self, number: int, amount: int, exhausted: bool) -> None:
        lease = self.live.get(number)
        require(lease is not None and lease.answer != OVER, Reason.UNKNOWN_LEASE)
        require(lease.given <= amount <= max(lease.asked, lease.given), Reason.AMOUNT_TOO_LARGE)
        others = [x for x in self.live.values() if x.currency == lease.currency and x is not lease]
        held = sum(x.given - x.used for x in others) + amount - lease.used
        require(held <= self.purse("fund", lease.currency), Reason.AMOUNT_TOO_LARGE)
        lease.given = amount
        lease.answer = SHORT if exhausted or amount < lease.asked else WHOLE
        reason = Reason.FUND_EXHAUSTED if lease.answer == SHORT else Reason.NONE
        self.say(EventKind.FUND_LEASE_GRANTED, lease, amount, reason)

    def settled(self, number: int, used: int) -> None:
        lease = self.live.get(number)
        require(lease is not None and lease.answer == OVER, Reason.UNKNOWN_LEASE)
        require(used == lease.used, Reason.AMOUNT_TOO_LARGE)
        del self.live[number]
