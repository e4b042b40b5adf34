"""An owner sells its own portfolio before it is liquidated: it asks for bids, and takes one or none. Our own."""

from typing import Annotated, Any

import msgspec

from exchange.commands import CommandKind
from exchange.offer_views import OfferView
from exchange.payloads import BidPortfolio, ClosePortfolioOffer, OfferLeg, OfferPortfolio
from exchange.trading.offers import MAX_LEGS
from gateway import render_orders
from gateway.errors import ApiError, invalid_param
from gateway.listing import Listing
from gateway.methods.order_terms import Quantity, price_units, quantity_lots
from gateway.methods.submitting import submit_cold
from gateway.protocol import Params
from gateway.registry import method
from gateway.render_offers import bid_shown, offer_shown
from gateway.units import ms

READ, WRITE = "block_trade:read", "block_trade:read_write"
Id = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
SECONDS = (5, 300, 60)
"""Least, most and usual life of an offer."""


class NewOffer(Params, kw_only=True):
    positions: dict[str, float] | str | None = None
    seconds: int | None = None


class OfOffer(Params, kw_only=True):
    offer_id: Id


class NewBid(OfOffer, kw_only=True):
    prices: dict[str, float] | str


class OfBid(OfOffer, kw_only=True):
    bid_id: Annotated[int, msgspec.Meta(ge=1, le=(1 << 63) - 1)]


def _table(value: dict[str, float] | str, param: str) -> dict[str, float]:
    """An object of numbers; a query's is JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value, type=dict[str, float])
    except msgspec.MsgspecError:
        raise invalid_param(param, "wrong format") from None


def _held(gateway, account_id: int) -> dict[int, int]:
    return {one.instrument: one.quantity_lots for one in gateway.engine.positions(account_id) if one.quantity_lots}


def _offer(gateway, offer_id: int) -> tuple[OfferView, list[Listing]]:
    """A standing offer and its contracts; 13020 where there is none."""
    offer = gateway.offers.get(offer_id)
    if offer is None:
        raise ApiError(13020, {"reason": "unknown_offer"})
    return offer, [gateway.listings.by_slot[leg.instrument] for leg in offer.legs]


@method("private/offer_portfolio", params=NewOffer, scope=WRITE, kind="matching", reducing=True)
def offer_portfolio(gateway, session, principal, params: NewOffer) -> dict[str, Any]:
    """Ask everybody for bids on the account's positions, or on the amounts of them that are named."""
    account_id = principal.account_id
    least, most, usual = SECONDS
    seconds = usual if params.seconds is None else params.seconds
    if not least <= seconds <= most:
        raise invalid_param("seconds", f"must be {least} to {most}")
    held = _held(gateway, account_id)
    if params.positions is None:
        chosen = held
    else:
        chosen = {}
        for name, amount in _table(params.positions, "positions").items():
            listing = gateway.listing(name)
            lots = quantity_lots(listing, Quantity(amount=amount)) or 0
            own = held.get(listing.slot, 0)
            if not 0 < lots <= abs(own):
                raise invalid_param("positions", f"{name}: more than there is")
            chosen[listing.slot] = lots if own > 0 else -lots
    if not chosen:
        raise ApiError(10010)
    if len(chosen) > MAX_LEGS:
        raise invalid_param("positions", f"at most {MAX_LEGS}")
    legs = tuple(OfferLeg(slot, lots) for slot, lots in sorted(chosen.items()))
    now_ns = max(gateway.sequencer.clock(), gateway.engine.time_ns)
    payload = OfferPortfolio(legs, now_ns + 10**9 * seconds)
    news = submit_cold(gateway, session, principal, CommandKind.OFFER_PORTFOLIO, payload)
    return offer_shown(gateway, gateway.offers.get(news.detail))


@method("public/get_portfolio_offers")
def get_portfolio_offers(gateway, session, principal, params) -> list[dict[str, Any]]:
    """Offers that stand, without whose they are and what was bid."""
    return [offer_shown(gateway, one) for one in gateway.offers.standing()]


@method("private/bid_portfolio", params=NewBid, scope=WRITE, kind="matching")
def bid_portfolio(gateway, session, principal, params: NewBid) -> dict[str, Any]:
    """A price for every leg of an offer, sealed: its owner alone sees it. It stands until it is withdrawn, replaced or
    the offer ends; accepted, it trades at once."""
    offer, listings = _offer(gateway, params.offer_id)
    prices = _table(params.prices, "prices")
    if set(prices) != {one.name for one in listings}:
        raise invalid_param("prices", "every leg needs one price")
    units = tuple(price_units(one, prices[one.name]) for one in listings)
    payload = BidPortfolio(offer.offer_id, units)
    news = submit_cold(gateway, session, principal, CommandKind.BID_PORTFOLIO, payload)
    offer, _ = _offer(gateway, params.offer_id)
    return bid_shown(gateway, offer, next(bid for bid in offer.bids if bid.bid_id == news.detail))


@method("private/get_portfolio_bids", params=OfOffer, scope=READ)
def get_portfolio_bids(gateway, session, principal, params: OfOffer) -> list[dict[str, Any]]:
    """All bids for one's own offer, what costs least first; of somebody else's one's own bid."""
    offer, _ = _offer(gateway, params.offer_id)
    mine = principal.account_id
    chosen = [bid for bid in offer.bids if mine in (offer.account_id, bid.account_id)]
    return sorted((bid_shown(gateway, offer, bid) for bid in chosen), key=lambda one: one["cost_usd"])


@method("private/accept_portfolio_bid", params=OfBid, scope=WRITE, kind="matching", reducing=True)
def accept_portfolio_bid(gateway, session, principal, params: OfBid) -> dict[str, Any]:
    """Sell to a bidder: a block trade of all legs at the prices of its bid, or nothing."""
    payload = ClosePortfolioOffer(params.offer_id, params.bid_id)
    news = submit_cold(gateway, session, principal, CommandKind.CLOSE_PORTFOLIO_OFFER, payload)
    own = gateway.archive.block(principal.account_id, news.block_id)
    return {
        "id": render_orders.block_name(news.block_id),
        "timestamp": ms(own[0][0].event.time_ns),
        "trades": [render_orders.user_trade(record, as_maker) for record, as_maker in own],
    }


@method("private/cancel_portfolio_offer", params=OfOffer, scope=WRITE, reducing=True)
def cancel_portfolio_offer(gateway, session, principal, params: OfOffer) -> str:
    """Sell to nobody."""
    payload = ClosePortfolioOffer(params.offer_id)
    submit_cold(gateway, session, principal, CommandKind.CLOSE_PORTFOLIO_OFFER, payload)
    return "ok"


@method("private/cancel_portfolio_bid", params=OfOffer, scope=WRITE, reducing=True)
def cancel_portfolio_bid(gateway, session, principal, params: OfOffer) -> str:
    """Withdraw one's bid."""
    submit_cold(gateway, session, principal, CommandKind.BID_PORTFOLIO, BidPortfolio(params.offer_id))
    return "ok"
