"""Views of portfolios that are offered for sale and of the bids for them."""

from exchange.views import View


class LegView(View, frozen=True):
    """What a bidder gets: `quantity_lots` bought, negative sold."""

    instrument: int
    instrument_id: int
    quantity_lots: int


class BidView(View, frozen=True):
    """A price for every leg of an offer, in price units; it stands until it is withdrawn or the offer ends."""

    bid_id: int
    account_id: int
    price_units: tuple[int, ...]


class OfferView(View, frozen=True):
    """A portfolio offered for sale."""

    offer_id: int
    account_id: int
    legs: tuple[LegView, ...]
    expires_ns: int
    bids: tuple[BidView, ...]
