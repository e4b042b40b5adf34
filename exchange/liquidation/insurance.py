"""Who pays for a default beyond the defaulter: the venue's own capital, then leases on the insurance fund.

The core draws without I/O on what the worker has reserved. Life of a lease: requested -> granted (or exhausted: less
than asked) -> possibly asked again -> settling (the auction is over) -> settled and forgotten. The ledger's fund
account is this venue's claim; it falls only by draws within a grant. Every draw takes the venue's capital first; only
what that lacks is asked of the fund, at most the event cap for one default. What neither carries is deleveraged.
"""

from typing import Any

from exchange.config import Liquidation as Parameters
from exchange.events import EventKind
from exchange.reasons import Reason
from exchange.views import LeaseView

PPM = 1_000_000


class Lease:
    """Amounts in minor units of `currency`."""

    __slots__ = (
        "account_id",
        "asked_ns",
        "auction_id",
        "capital_minor",
        "capped",
        "currency",
        "deleveraged_minor",
        "granted_minor",
        "lease_id",
        "requested_minor",
        "state",
        "used_minor",
    )

    def __init__(self, lease_id: int, auction_id: int, account_id: int, currency: int) -> None:
        self.lease_id = lease_id
        self.auction_id = auction_id
        self.account_id = account_id
        self.currency = currency
        self.requested_minor = 0
        self.granted_minor = 0
        self.used_minor = 0
        self.capital_minor = 0
        self.deleveraged_minor = 0
        self.capped = False
        self.asked_ns = 0
        self.state = "requested"


class Leases:
    """Leases that are not settled."""

    def __init__(self, desk: Any, parameters: Parameters) -> None:
        self.desk = desk
        self.parameters = parameters
        self.covered: dict[int, list[int]] = {}
        """By currency: defaults that others paid for, and what capital, fund and deleveraging bore of them."""
        self.live: dict[int, Lease] = {}
        self.next_lease_id = 1

    def open(self, auction_id: int, account_id: int, currency: int) -> int:
        """A new lease, nothing asked for yet; returns its id."""
        lease = Lease(self.next_lease_id, auction_id, account_id, currency)
        self.next_lease_id += 1
        self.live[lease.lease_id] = lease
        return lease.lease_id

    def get(self, lease_id: int) -> Lease | None:
        """The lease, None when there is none."""
        return self.live.get(lease_id)

    def request(self, lease_id: int, free_minor: int, now: int) -> bool:
        """Ask the worker for a total that leaves `free_minor` to draw on beside the venue's capital; whether it was
        asked. It is not where the grant suffices, or where the event cap allows no more (the lease is `capped`)."""
        lease = self.live[lease_id]
        lease.asked_ns = now
        own = int(self.desk.capital(lease.currency))
        wanted = lease.used_minor + max(0, free_minor - own)
        most = self.most(lease)
        lease.capped = most is not None and wanted > most
        if most is not None and lease.capped:
            wanted = most
        if wanted <= lease.granted_minor:
            lease.requested_minor = lease.granted_minor
            lease.state = "exhausted" if lease.capped else "granted"
            return False
        lease.requested_minor = max(lease.granted_minor, wanted)
        lease.state = "requested"
        self._emit(EventKind.FUND_LEASE_REQUESTED, lease, lease.requested_minor, Reason.NONE)
        return True

    def most(self, lease: Lease) -> int | None:
        """What the lease may draw in all, None: as much as there is."""
        cap = self.parameters.fund_event_cap_ppm
        if cap >= PPM:
            return None
        return int((self.desk.fund(lease.currency) + lease.used_minor) * cap // PPM)

    def grant(self, lease_id: int, amount: int, exhausted: bool) -> Reason:
        """`amount` is the total that the fund now holds for the lease."""
        lease = self.live.get(lease_id)
        if lease is None or lease.state in ("settling", "settled"):
            return Reason.UNKNOWN_LEASE
        if amount < lease.granted_minor or amount > max(lease.requested_minor, lease.granted_minor):
            return Reason.AMOUNT_TOO_LARGE
        others = sum(
            other.granted_minor - other.used_minor
            for other in self.live.values()
            if other.currency == lease.currency and other is not lease
        )
        if amount - lease.used_minor + others > self.desk.fund(lease.currency):
            return Reason.AMOUNT_TOO_LARGE
        lease.granted_minor = amount
        lease.state = "exhausted" if exhausted or amount < lease.requested_minor else "granted"
        reason = Reason.FUND_EXHAUSTED if lease.state == "exhausted" else Reason.NONE
        self._emit(EventKind.FUND_LEASE_GRANTED, lease, amount, reason)
        return Reason.NONE

    def free(self, lease_id: int) -> int:
        """What may still be drawn: the venue's capital and the rest of the grant."""
        lease = self.live.get(lease_id)
        return 0 if lease is None else int(self.desk.capital(lease.currency)) + lease.granted_minor - lease.used_minor

    def short(self, lease_id: int) -> Reason:
        """Why no more can be drawn: the fund gave less than was asked, one default's cap is reached, or it is asked."""
        lease = self.live.get(lease_id)
        if lease is None or lease.state != "exhausted":
            return Reason.AWAITING_LEASE
        return Reason.EVENT_CAP_REACHED if lease.capped else Reason.FUND_EXHAUSTED

    def draw(self, lease_id: int, account_id: int, amount: int) -> None:
        """Pay an account, out of the venue's capital first, then out of the fund; the caller has checked `free`."""
        lease = self.live[lease_id]
        if not 0 < amount <= self.free(lease_id):
            raise ValueError(f"draw of {amount} outside lease {lease_id}")
        own = min(amount, int(self.desk.capital(lease.currency)))
        if own:
            lease.capital_minor += own
            self.desk.pay_capital(account_id, lease.currency, own)
            self._emit(EventKind.CAPITAL_DRAWN, lease, own, Reason.NONE, self.desk.capital(lease.currency))
        if amount > own:
            lease.used_minor += amount - own
            self.desk.pay_fund(account_id, lease.currency, own - amount)
            self._emit(EventKind.FUND_DRAWN, lease, amount - own, Reason.NONE)

    def bear(self, lease_id: int, amount: int) -> None:
        """Note what the other side bore by deleveraging."""
        self.live[lease_id].deleveraged_minor += amount

    def close(self, lease_id: int, equity_minor: int, reason: Reason) -> None:
        """The auction is over: who paid is said, and the worker gives the rest back. `equity_minor`: the defaulter's
        when the auction opened."""
        lease = self.live.get(lease_id)
        if lease is None:
            return
        tranches = (lease.capital_minor, lease.used_minor, lease.deleveraged_minor)
        if any(tranches):
            totals = self.covered.setdefault(lease.currency, [0, 0, 0, 0])
            for place, amount in enumerate((1, *tranches)):
                totals[place] += amount
            self.desk.emit_covered(
                lease.account_id, lease.auction_id, lease.currency, reason, equity_minor, *tranches
            )  # fmt: skip
        lease.state = "settling"
        self._emit(EventKind.FUND_LEASE_SETTLED, lease, lease.used_minor, Reason.NONE)

    def settled(self, lease_id: int, used: int) -> Reason:
        """The worker's confirmation."""
        lease = self.live.get(lease_id)
        if lease is None or lease.state != "settling":
            return Reason.UNKNOWN_LEASE
        if used != lease.used_minor:
            return Reason.AMOUNT_TOO_LARGE
        del self.live[lease_id]
        return Reason.NONE

    def _emit(self, kind: EventKind, lease: Lease, amount: int, reason: Reason, remaining: int | None = None) -> None:
        """`remaining` of what was drawn on; None: of the grant."""
        self.desk.emit_fund(
            kind,
            lease.account_id,
            lease.lease_id,
            amount,
            lease.currency,
            reason,
            lease.auction_id,
            lease.granted_minor - lease.used_minor if remaining is None else remaining,
        )

    def views(self) -> list[LeaseView]:
        """Ascending id."""
        return [
            LeaseView(
                lease_id=lease.lease_id,
                auction_id=lease.auction_id,
                currency=self.desk.currency_name(lease.currency),
                requested_minor=lease.requested_minor,
                granted_minor=lease.granted_minor,
                used_minor=lease.used_minor,
                state=lease.state,
                capital_minor=lease.capital_minor,
            )
            for _, lease in sorted(self.live.items())
        ]

    def export(self) -> list[Any]:
        """Canonical state."""
        leases = [[getattr(lease, name) for name in lease.__slots__] for _, lease in sorted(self.live.items())]
        covered = [[currency, *totals] for currency, totals in sorted(self.covered.items())]
        return [self.next_lease_id, leases, covered] if covered else [self.next_lease_id, leases]
