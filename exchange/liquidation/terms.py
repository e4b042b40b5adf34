"""Terms of auctions, which an operator may set per underlying; owners' preferences; and retained bidders.

An auction takes the terms of the underlying in which its account has the largest size at the index, and keeps the
version it opened with: a change never touches one that runs. Each change raises the underlying's version by one and is
told (AUCTION_TERMS_CHANGED) before it binds anybody.
"""

from typing import Any

import msgspec

from exchange.config import Liquidation as Parameters
from exchange.events import EventKind
from exchange.liquidation.slices import PPM, Unwind
from exchange.payloads import AuctionTerms, SetBackstop, SetUnwind
from exchange.reasons import Reason

MAX_BACKSTOPS = 16
MAX_NS = 86_400_000_000_000
DURATIONS = ("fast_ns", "slow_ns", "insolvent_ns", "batch_ns")
FIELDS = (
    "buffer_ppm", "discount_start_ppm", "discount_cutoff_ppm", "compensation_cap_ppm", "fee_ppm", *DURATIONS,
)  # fmt: skip


def in_range(terms: Parameters) -> bool:
    """Whether terms can be used."""
    shares = (terms.discount_start_ppm, terms.discount_cutoff_ppm, terms.compensation_cap_ppm, terms.fee_ppm)
    return (
        all(0 <= share <= PPM for share in shares)
        and 0 < terms.discount_cutoff_ppm <= terms.discount_start_ppm
        and 0 <= terms.buffer_ppm <= 2 * PPM
        and terms.fee_ppm <= PPM // 2
        and all(0 < getattr(terms, name) <= MAX_NS for name in DURATIONS)
    )


class TermsBook:
    """What auctions go by beside the configuration. `desk` is exchange.liquidation.desk.Desk."""

    def __init__(self, desk: Any, base: Parameters) -> None:
        self.desk, self.base = desk, base
        self.changed: dict[int, tuple[int, Parameters]] = {}
        """By underlying: version and terms; version 0, the configuration's, where it is not there."""
        self.unwind: dict[int, int] = {}
        """By account: what its owner would rather have sold; SMALLEST where it is not there."""
        self.backstops: dict[int, int] = {}
        """By account that is retained: the largest portfolio it takes, USD at the index."""

    def of(self, underlying: int) -> tuple[int, Parameters]:
        """(version, terms) of new auctions in an underlying."""
        return self.changed.get(underlying, (0, self.base))

    def pick(self, account_id: int, entity: int) -> tuple[int, int, Parameters]:
        """(underlying, version, terms) for an entity: where its size at the index is largest, the first of equals."""
        sizes: dict[int, int] = {}
        for instrument, lots in self.desk.held(account_id, entity) if self.changed else ():
            underlying = self.desk.instrument_underlying(instrument)
            sizes[underlying] = sizes.get(underlying, 0) + self.desk.notional_e16(instrument, lots)
        if not sizes:
            return 0, 0, self.base
        largest = min(sizes, key=lambda underlying: (-sizes[underlying], underlying))
        return largest, *self.of(largest)

    def set_terms(self, payload: AuctionTerms) -> tuple[Reason, int]:
        """SET_AUCTION_TERMS; what is not named goes back to the configuration. The detail is the new version."""
        underlying: int = self.desk.underlying_index(payload.underlying)
        if underlying < 0:
            return Reason.UNKNOWN_CURRENCY, 0
        given = {name: getattr(payload, name) for name in FIELDS if getattr(payload, name) is not None}
        terms = msgspec.structs.replace(self.base, **given)
        if not in_range(terms):
            return Reason.BAD_CONFIGURATION, 0
        version = self.of(underlying)[0] + 1
        self.changed[underlying] = version, terms
        self.desk.emit_terms(EventKind.AUCTION_TERMS_CHANGED, underlying, version, terms)
        return Reason.NONE, version

    def set_unwind(self, account_id: int, payload: SetUnwind) -> tuple[Reason, int]:
        """SET_UNWIND."""
        if not self.desk.exists(account_id):
            return Reason.UNKNOWN_ACCOUNT, 0
        preference = Unwind[payload.preference.upper()]
        self.unwind.pop(account_id, None)
        if preference:
            self.unwind[account_id] = int(preference)
        return Reason.NONE, int(preference)

    def set_backstop(self, account_id: int, payload: SetBackstop) -> tuple[Reason, int]:
        """SET_BACKSTOP."""
        if not self.desk.exists(account_id):
            return Reason.UNKNOWN_ACCOUNT, 0
        if payload.most_usd < 0:
            return Reason.BAD_PAYLOAD, 0
        if payload.most_usd and account_id not in self.backstops and len(self.backstops) >= MAX_BACKSTOPS:
            return Reason.LIMIT_REACHED, 0
        self.backstops.pop(account_id, None)
        if payload.most_usd:
            self.backstops[account_id] = payload.most_usd
        return Reason.NONE, len(self.backstops)

    def retained(self, account_id: int, entity: int) -> list[int]:
        """Retained bidders that a portfolio is small enough for, ascending; the owner's own are refused as any bid."""
        size = sum(self.desk.notional_e16(*leg) for leg in self.desk.held(account_id, entity))
        return [account for account, most in sorted(self.backstops.items()) if size <= most * 10**16]

    def export(self) -> list[Any]:
        """Canonical state, [] where nothing has been set."""
        changed = [
            [underlying, version, *(getattr(terms, name) for name in FIELDS)]
            for underlying, (version, terms) in sorted(self.changed.items())
        ]
        found = [changed, sorted(self.unwind.items()), sorted(self.backstops.items())]
        return found if any(found) else []
