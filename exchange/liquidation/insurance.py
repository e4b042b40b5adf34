"""Leases on the insurance fund, as the engine sees them.

The core draws without I/O on what the worker has reserved. Life of a lease: requested -> granted (or exhausted: less
than asked) -> possibly asked again -> settling (the auction is over) -> settled and forgotten. The ledger's fund
account is this venue's claim; it falls only by draws within a grant.
"""

from typing import Any

from exchange.events import EventKind
from exchange.reasons import Reason
from exchange.views import LeaseView


class Lease:
    """Amounts in minor units of `currency`."""

    __slots__ = (
        "account_id",
        "asked_ns",
        "auction_id",
        "currency",
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
        self.asked_ns = 0
        self.state = "requested"


class Leases:
    """Leases that are not settled."""

    def __init__(self, desk: Any) -> None:
        self.desk = desk
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

    def request(self, lease_id: int, free_minor: int, now: int) -> None:
        """Ask the worker for a total that leaves `free_minor` to draw on."""
        lease = self.live[lease_id]
        lease.requested_minor = max(lease.granted_minor, lease.used_minor + free_minor)
        lease.asked_ns = now
        lease.state = "requested"
        self._emit(EventKind.FUND_LEASE_REQUESTED, lease, lease.requested_minor, Reason.NONE)

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
        """What may still be drawn."""
        lease = self.live.get(lease_id)
        return 0 if lease is None else lease.granted_minor - lease.used_minor

    def exhausted(self, lease_id: int) -> bool:
        """Whether the fund answered with less than was asked."""
        lease = self.live.get(lease_id)
        return lease is not None and lease.state == "exhausted"

    def draw(self, lease_id: int, account_id: int, amount: int) -> None:
        """Pay an account out of the fund; the caller has checked `free`."""
        lease = self.live[lease_id]
        if not 0 < amount <= lease.granted_minor - lease.used_minor:
            raise ValueError(f"draw of {amount} outside lease {lease_id}")
        lease.used_minor += amount
        self.desk.pay_fund(account_id, lease.currency, -amount)
        self._emit(EventKind.FUND_DRAWN, lease, amount, Reason.NONE)

    def close(self, lease_id: int) -> None:
        """The auction is over: the worker gives the rest back."""
        lease = self.live.get(lease_id)
        if lease is not None:
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

    def _emit(self, kind: EventKind, lease: Lease, amount: int, reason: Reason) -> None:
        self.desk.emit_fund(
            kind,
            lease.account_id,
            lease.lease_id,
            amount,
            lease.currency,
            reason,
            lease.auction_id,
            lease.granted_minor - lease.used_minor,
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
            )
            for _, lease in sorted(self.live.items())
        ]

    def export(self) -> list[Any]:
        """Canonical state."""
        leases = [[getattr(lease, name) for name in lease.__slots__] for _, lease in sorted(self.live.items())]
        return [self.next_lease_id, leases]
