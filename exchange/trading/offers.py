"""Portfolios that their owners offer for sale before anybody takes them away: offers, sealed bids, sales.

An offer stands until its time is over, its owner withdraws it or takes a bid, or one of its contracts is no more. A bid
that is taken is a block trade of all legs in the same command, so an offer is never sold twice. Rules:
docs/liquidation.md, "Selling it oneself".
"""

from dataclasses import dataclass, field
from typing import Any

from exchange.control_events import OfferOutcome
from exchange.events import EventKind
from exchange.offer_views import BidView, LegView, OfferView
from exchange.payloads import BidPortfolio, BlockLeg, BlockTrade, ClosePortfolioOffer, OfferPortfolio
from exchange.reasons import Reason

MAX_OFFERS = 256
MAX_BIDS = 64
MAX_LEGS = 20
MAX_LIFE_NS = 3_600 * 10**9
NS_PER_MS = 1_000_000
Answer = tuple[Reason, int]


@dataclass(slots=True)
class _Offer:
    """At most one of an account; bids by bidder, a new one takes the place of the old one."""

    offer_id: int
    account_id: int
    legs: tuple[LegView, ...]
    expires_ns: int
    bids: dict[int, BidView] = field(default_factory=dict)

    def trades(self, prices: tuple[int, ...]) -> tuple[BlockLeg, ...]:
        """As the bidder, the maker, has them."""
        return tuple(
            BlockLeg(leg.instrument, int(leg.quantity_lots < 0), units, abs(leg.quantity_lots))
            for leg, units in zip(self.legs, prices, strict=True)
        )

    def view(self) -> OfferView:
        """As it is shown."""
        return OfferView(self.offer_id, self.account_id, self.legs, self.expires_ns, tuple(self.bids.values()))


class Offers:
    """Offers that stand. `desk` is exchange.liquidation.desk.Desk, `blocks` exchange.trading.blocks.Blocks."""

    def __init__(self, desk: Any, blocks: Any) -> None:
        self.desk, self.blocks = desk, blocks
        self._standing: dict[int, _Offer] = {}
        self._by_account: dict[int, int] = {}
        self.next_offer_id = self.next_bid_id = 1

    # ------------------------------------------------------------------ commands

    def offer(self, account_id: int, payload: OfferPortfolio) -> Answer:
        """(reason, the offer's id): an account offers lots that it holds; legs are what a bidder gets."""
        if not self.desk.exists(account_id):
            return Reason.UNKNOWN_ACCOUNT, 0
        slots = [leg.instrument for leg in payload.legs]
        if not 1 <= len(slots) <= MAX_LEGS or slots != sorted(set(slots)):
            return Reason.BLOCK_LEGS, 0
        if not self.desk.venue_ns() < payload.expires_ns <= self.desk.venue_ns() + MAX_LIFE_NS:
            return Reason.BAD_PAYLOAD, 0
        if not self._holds(account_id, payload.legs):
            return Reason.REDUCE_ONLY_WOULD_INCREASE, 0
        if self.desk.in_liquidation(account_id):
            return Reason.ACCOUNT_IN_LIQUIDATION, 0
        mine = self._by_account.get(account_id, 0)
        # a refusal changes nothing, so what has expired is only ended once this one can stand
        if self._find(mine) is not None or sum(map(self._stands, self._standing.values())) >= MAX_OFFERS:
            return Reason.OFFER_LIMIT, mine
        self._expire()
        legs = tuple(LegView(one.instrument, self.desk.instrument_id(one.instrument), one.quantity_lots)
                     for one in payload.legs)  # fmt: skip
        made = _Offer(self.next_offer_id, account_id, legs, payload.expires_ns)
        self.next_offer_id += 1
        self._standing[made.offer_id] = made
        self._by_account[account_id] = made.offer_id
        self._say(EventKind.PORTFOLIO_OFFERED, account_id, made, 0, 0, OfferOutcome.STANDS)
        return Reason.NONE, made.offer_id

    def bid(self, account_id: int, payload: BidPortfolio) -> Answer:
        """(reason, the bid's id): a price for every leg, or none to withdraw what the account has bid."""
        if not self.desk.exists(account_id):
            return Reason.UNKNOWN_ACCOUNT, 0
        offer = self._find(payload.offer_id)
        if offer is None:
            return Reason.UNKNOWN_OFFER, 0
        if not payload.price_units:
            old = offer.bids.pop(account_id, None)
            if old is None:
                return Reason.UNKNOWN_BID, 0
            self._say(EventKind.PORTFOLIO_BID, account_id, offer, old.bid_id, offer.account_id, OfferOutcome.WITHDRAWN)
            return Reason.NONE, old.bid_id
        if len(payload.price_units) != len(offer.legs):
            return Reason.BLOCK_LEGS, 0
        if self.desk.owner(account_id) == self.desk.owner(offer.account_id):
            return Reason.OWN_GROUP, 0
        reason, detail = self.blocks.simulate(account_id, offer.trades(payload.price_units), True)
        if reason:
            return reason, detail
        if account_id not in offer.bids and len(offer.bids) >= MAX_BIDS:
            return Reason.BATCH_FULL, 0
        made = BidView(self.next_bid_id, account_id, payload.price_units)
        self.next_bid_id += 1
        offer.bids[account_id] = made
        self._say(EventKind.PORTFOLIO_BID, account_id, offer, made.bid_id, offer.account_id, OfferOutcome.STANDS)
        return Reason.NONE, made.bid_id

    def close(self, account_id: int, payload: ClosePortfolioOffer) -> Answer:
        """(reason, detail): the owner takes a bid, or sells to nobody. detail: the block's id of a sale; of a refusal
        what `blocks` says of it."""
        offer = self._find(payload.offer_id)
        if offer is None or offer.account_id != account_id:
            return Reason.UNKNOWN_OFFER, 0
        if not payload.bid_id:
            self._end(offer, OfferOutcome.WITHDRAWN)
            return Reason.NONE, 0
        bid = next((one for one in offer.bids.values() if one.bid_id == payload.bid_id), None)
        if bid is None:
            return Reason.UNKNOWN_BID, 0
        if not self._holds(account_id, offer.legs):
            return Reason.REDUCE_ONLY_WOULD_INCREASE, 0
        nonce = f"offer-{offer.offer_id}-{bid.bid_id}"
        trades = offer.trades(bid.price_units)
        block = BlockTrade(bid.account_id, account_id, self.desk.venue_ns() // NS_PER_MS, nonce, trades)
        reason, detail = self.blocks.execute(block)
        if reason:
            return reason, detail
        self._end(offer, OfferOutcome.SOLD, bid)
        return Reason.NONE, detail

    def tick(self) -> None:
        """End what has expired, and what cannot be had any more."""
        if self._standing:
            self._expire()

    # ------------------------------------------------------------------ parts

    def _holds(self, account_id: int, legs: Any) -> bool:
        """Whether the account holds at least the lots of every leg."""
        held = self.desk.holdings(account_id)
        return all(
            0 < leg.quantity_lots <= held.get(leg.instrument, 0) or held.get(leg.instrument, 0) <= leg.quantity_lots < 0
            for leg in legs
        )

    def _there(self, offer: _Offer) -> bool:
        """Whether its contracts are still the ones that were offered."""
        return all(self.desk.instrument_id(leg.instrument) == leg.instrument_id for leg in offer.legs)

    def _stands(self, offer: _Offer) -> bool:
        """Whether it can still be bid for and sold; what cannot is ended by the next Tick."""
        return offer.expires_ns > self.desk.venue_ns() and self._there(offer)

    def _find(self, offer_id: int) -> _Offer | None:
        offer = self._standing.get(offer_id)
        return offer if offer is not None and self._stands(offer) else None

    def _expire(self) -> None:
        for offer in list(self._standing.values()):
            if offer.expires_ns <= self.desk.venue_ns():
                self._end(offer, OfferOutcome.EXPIRED)
            elif not self._there(offer):
                self._end(offer, OfferOutcome.GONE)

    def _end(self, offer: _Offer, outcome: OfferOutcome, bid: BidView | None = None) -> None:
        del self._standing[offer.offer_id]
        del self._by_account[offer.account_id]
        bid_id, buyer = (bid.bid_id, bid.account_id) if bid else (0, 0)
        self._say(EventKind.PORTFOLIO_OFFER_ENDED, offer.account_id, offer, bid_id, buyer, outcome)

    def _say(
        self, kind: EventKind, account_id: int, offer: _Offer, bid_id: int, other: int, outcome: OfferOutcome
    ) -> None:
        self.desk.emit_offer(
            kind, account_id, offer.offer_id, bid_id, offer.expires_ns, other, len(offer.legs), outcome
        )

    # ------------------------------------------------------------------ reads

    def views(self) -> list[OfferView]:
        """Offers that stand, oldest first."""
        return [one.view() for one in self._standing.values() if self._stands(one)]

    def view(self, offer_id: int) -> OfferView | None:
        """One by its number, None where it does not stand."""
        found = self._find(offer_id)
        return None if found is None else found.view()

    def export(self) -> list[Any]:
        """Canonical state: nothing before the first offer."""
        if self.next_offer_id == 1:
            return []
        return [
            [
                self.next_offer_id,
                self.next_bid_id,
                [
                    [one.offer_id, one.account_id, [[leg.instrument, leg.instrument_id, leg.quantity_lots]
                                                    for leg in one.legs],
                     one.expires_ns, [[bid.bid_id, bid.account_id, list(bid.price_units)]
                                      for bid in one.bids.values()]]
                    for one in self._standing.values()
                ],
            ]
        ]  # fmt: skip
