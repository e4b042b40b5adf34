"""Portfolios that their owners offer for sale before anybody takes them away: offers, sealed bids, their ends.

All of it is in memory and lost with the process; only an accepted bid becomes a command, a block trade.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from exchange.payloads import BlockLeg

MAX_OFFERS = 256
MAX_BIDS = 64
MAX_LEGS = 20


@dataclass(slots=True)
class Bid:
    """A price for every leg of an offer, in price units; it stands until it is withdrawn or the offer ends."""

    bid_id: int
    account_id: int
    price_units: tuple[int, ...]


@dataclass(slots=True)
class Leg:
    """What a bidder gets: `lots` bought, negative sold."""

    instrument_id: int
    slot: int
    lots: int


@dataclass(slots=True)
class Offer:
    """At most one of an account."""

    offer_id: int
    account_id: int
    legs: tuple[Leg, ...]
    expires_ms: int
    bids: dict[int, Bid] = field(default_factory=dict)
    """By bidder: a new bid takes the place of the old one."""

    def trades(self, bid_units: tuple[int, ...]) -> tuple[BlockLeg, ...]:
        """As the bidder, the maker, has them."""
        return tuple(
            BlockLeg(leg.slot, int(leg.lots < 0), units, abs(leg.lots))
            for leg, units in zip(self.legs, bid_units, strict=True)
        )


class Offers:
    """Offers that stand; `tell(offer, what, bid)` hears of each change, `now_ms` is venue time."""

    def __init__(self, now_ms: Callable[[], int], tell: Callable[[Offer, str, Bid | None], None]):
        self.now_ms, self._tell = now_ms, tell
        self._standing: dict[int, Offer] = {}
        self._last_offer = self._last_bid = 0

    def standing(self) -> list[Offer]:
        """Those that have not expired, oldest first; expired ones end here."""
        now = self.now_ms()
        for offer in [one for one in self._standing.values() if one.expires_ms <= now]:
            self.end(offer, "expired")
        return list(self._standing.values())

    def of(self, account_id: int) -> Offer | None:
        """An account's own."""
        return next((one for one in self.standing() if one.account_id == account_id), None)

    def get(self, offer_id: int) -> Offer | None:
        """One by its number."""
        self.standing()
        return self._standing.get(offer_id)

    def full(self) -> bool:
        """Whether no further one is taken."""
        return len(self.standing()) >= MAX_OFFERS

    def open(self, account_id: int, legs: tuple[Leg, ...], expires_ms: int) -> Offer:
        """A new one."""
        self._last_offer += 1
        offer = self._standing[self._last_offer] = Offer(self._last_offer, account_id, legs, expires_ms)
        self._tell(offer, "offered", None)
        return offer

    def bid(self, offer: Offer, account_id: int, price_units: tuple[int, ...]) -> Bid | None:
        """A new bid, None where the offer has as many as it takes."""
        if account_id not in offer.bids and len(offer.bids) >= MAX_BIDS:
            return None
        self._last_bid += 1
        made = offer.bids[account_id] = Bid(self._last_bid, account_id, price_units)
        self._tell(offer, "bid", made)
        return made

    def end(self, offer: Offer, what: str) -> None:
        """It stands no longer: `expired`, `withdrawn` or `sold`."""
        if self._standing.pop(offer.offer_id, None) is not None:
            self._tell(offer, what, None)
