"""Offers of portfolios and bids for them as wire objects."""

from typing import TYPE_CHECKING, Any

from exchange.offer_views import BidView, OfferView
from gateway.listing import Listing
from gateway.units import E8, ms

if TYPE_CHECKING:
    from gateway.gateway import Gateway


def offer_shown(gateway: "Gateway", offer: OfferView) -> dict[str, Any]:
    """An offer as everybody sees it: what a bidder would buy and sell, not whose it is nor what was bid."""
    listings = [(leg, gateway.listings.by_slot.get(leg.instrument)) for leg in offer.legs]
    return {
        "offer_id": offer.offer_id,
        "expires_timestamp": ms(offer.expires_ns),
        "bids": len(offer.bids),
        "legs": [
            {
                "instrument_name": listing.name,
                "direction": "buy" if leg.quantity_lots > 0 else "sell",
                "amount": listing.amount(abs(leg.quantity_lots)),
            }
            for leg, listing in listings
            if listing is not None and listing.view.instrument_id == leg.instrument_id
        ],
    }


def bid_shown(gateway: "Gateway", offer: OfferView, bid: BidView) -> dict[str, Any]:
    """A bid with what the owner would give up against the marks, in USD."""
    prices, cost = {}, 0.0
    for leg, units in zip(offer.legs, bid.price_units, strict=True):
        listing = gateway.listings.by_slot[leg.instrument]
        price = prices[listing.name] = (units - listing.zero_units) * listing.unit_e8 / E8
        index = gateway.engine.index_price(listing.underlying) / E8
        mark = gateway.engine.market(leg.instrument).mark_price_e8 / E8
        cost += _gives_up_usd(listing, mark, index, leg.quantity_lots, price)
    return {"offer_id": offer.offer_id, "bid_id": bid.bid_id, "prices": prices, "cost_usd": round(cost, 4)}


def _gives_up_usd(listing: Listing, mark: float, index: float, lots: int, price: float) -> float:
    """What the owner gives up against the mark where a bidder buys `lots` (negative: sells) at `price`."""
    amount = listing.amount(abs(lots)) * (1 if lots > 0 else -1)
    if listing.view.inverse and not listing.is_option:
        return float(amount * (1.0 / price - 1.0 / mark) * index)
    return float(amount * (mark - price) * (index if listing.view.inverse else 1.0))
