"""Portfolios offered for sale, as the gateway tells of them: the engine keeps them, here is what each was like last."""

from collections.abc import Callable
from typing import Any

from exchange.control_events import OfferOutcome
from exchange.events import EventKind
from exchange.offer_views import BidView, OfferView
from gateway.news import News

_OFFERED, _BID = int(EventKind.PORTFOLIO_OFFERED), int(EventKind.PORTFOLIO_BID)
_ENDED = int(EventKind.PORTFOLIO_OFFER_ENDED)
WORDS = {
    OfferOutcome.WITHDRAWN: "withdrawn",
    OfferOutcome.EXPIRED: "expired",
    OfferOutcome.SOLD: "sold",
    OfferOutcome.GONE: "expired",
}
"""How an offer ended."""


class Offers:
    """Reads of the engine's offers; `tell(offer, what, bid)` hears of each change."""

    def __init__(self, engine: Any, tell: Callable[[OfferView, str, BidView | None], None]):
        self._engine, self._tell = engine, tell
        self._known: dict[int, OfferView] = {one.offer_id: one for one in self.standing()}

    def standing(self) -> list[OfferView]:
        """Those that stand, oldest first."""
        return [] if self._engine.config is None else self._engine.offers.views()

    def get(self, offer_id: int) -> OfferView | None:
        """One by its number, None where it does not stand."""
        return self._engine.offers.view(offer_id)

    def follow(self, news: News) -> None:
        """Tell of what a command did to offers."""
        for kind, fields in news.facts:
            if kind in (_OFFERED, _BID):
                offer = self.get(fields.offer_id)
                if offer is None:
                    continue
                self._known[offer.offer_id] = offer
                if kind == _OFFERED:
                    self._tell(offer, "offered", None)
                for bid in offer.bids:
                    if kind == _BID and bid.bid_id == fields.bid_id:
                        self._tell(offer, "bid", bid)
            elif kind == _ENDED:
                ended = self._known.pop(fields.offer_id, None)
                if ended is not None:
                    self._tell(ended, WORDS[OfferOutcome(fields.outcome)], None)
