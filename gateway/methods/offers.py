"""An owner sells its own portfolio before it is liquidated: it asks for bids, and takes one or none. Our own."""

from typing import Any

import msgspec

from exchange import commands
from exchange.commands import CommandKind
from exchange.payloads import BlockTrade
from exchange.reasons import Reason
from gateway import render_orders
from gateway.errors import ApiError, engine_refusal, invalid_param
from gateway.listing import Listing
from gateway.methods.order_terms import Quantity, price_units, quantity_lots
from gateway.offers import MAX_LEGS, Leg, Offer
from gateway.protocol import Params
from gateway.registry import method
from gateway.render_offers import bid_shown, offer_shown
from gateway.units import ms

READ, WRITE = "block_trade:read", "block_trade:read_write"
SECONDS = (5, 300, 60)
"""Least, most and usual life of an offer."""


class NewOffer(Params, kw_only=True):
    positions: dict[str, float] | str | None = None
    seconds: int | None = None


class OfOffer(Params, kw_only=True):
    offer_id: int


class NewBid(OfOffer, kw_only=True):
    prices: dict[str, float] | str


class OfBid(OfOffer, kw_only=True):
    bid_id: int


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


def _listings(gateway, offer: Offer) -> list[Listing] | None:
    """Of the legs; None where a contract is no more."""
    found = [gateway.listings.by_slot.get(leg.slot) for leg in offer.legs]
    same = all(one is not None and one.view.instrument_id == leg.instrument_id
               for one, leg in zip(found, offer.legs, strict=True))  # fmt: skip
    return found if same else None


def _offer(gateway, offer_id: int) -> tuple[Offer, list[Listing]]:
    """A standing offer; 13020 where there is none."""
    offer = gateway.offers.get(offer_id)
    listings = None if offer is None else _listings(gateway, offer)
    if offer is None or listings is None:
        raise ApiError(13020, {"reason": "unknown_offer"})
    return offer, listings


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
    if gateway.engine.desk.in_liquidation(account_id):
        raise engine_refusal(int(Reason.ACCOUNT_IN_LIQUIDATION))
    if gateway.offers.of(account_id) is not None or gateway.offers.full():
        raise ApiError(11030, {"reason": "offer_limit"})
    by_slot = gateway.listings.by_slot
    legs = tuple(Leg(by_slot[slot].view.instrument_id, slot, lots) for slot, lots in sorted(chosen.items()))
    return offer_shown(gateway, gateway.offers.open(account_id, legs, gateway.offers.now_ms() + 1_000 * seconds))


@method("public/get_portfolio_offers")
def get_portfolio_offers(gateway, session, principal, params) -> list[dict[str, Any]]:
    """Offers that stand, without whose they are and what was bid."""
    return [offer_shown(gateway, one) for one in gateway.offers.standing() if _listings(gateway, one) is not None]


@method("private/bid_portfolio", params=NewBid, scope=WRITE, kind="matching")
def bid_portfolio(gateway, session, principal, params: NewBid) -> dict[str, Any]:
    """A price for every leg of an offer, sealed: its owner alone sees it. It stands until it is withdrawn, replaced or
    the offer ends; accepted, it trades at once."""
    offer, listings = _offer(gateway, params.offer_id)
    prices = _table(params.prices, "prices")
    if set(prices) != {one.name for one in listings}:
        raise invalid_param("prices", "every leg needs one price")
    units = tuple(price_units(one, prices[one.name]) for one in listings)
    engine, account_id = gateway.engine, principal.account_id
    if engine.account(account_id).owner_id == engine.account(offer.account_id).owner_id:
        raise engine_refusal(int(Reason.OWN_GROUP))
    reason, _ = engine.blocks.simulate(account_id, offer.trades(units), True)
    if reason:
        raise engine_refusal(int(reason))
    bid = gateway.offers.bid(offer, account_id, units)
    if bid is None:
        raise engine_refusal(int(Reason.BATCH_FULL))
    return bid_shown(gateway, offer, bid)


@method("private/get_portfolio_bids", params=OfOffer, scope=READ)
def get_portfolio_bids(gateway, session, principal, params: OfOffer) -> list[dict[str, Any]]:
    """All bids for one's own offer, what costs least first; of somebody else's one's own bid."""
    offer, _ = _offer(gateway, params.offer_id)
    mine = principal.account_id
    chosen = [bid for bid in offer.bids.values() if mine in (offer.account_id, bid.account_id)]
    return sorted((bid_shown(gateway, offer, bid) for bid in chosen), key=lambda one: one["cost_usd"])


@method("private/accept_portfolio_bid", params=OfBid, scope=WRITE, kind="matching", reducing=True)
def accept_portfolio_bid(gateway, session, principal, params: OfBid) -> dict[str, Any]:
    """Sell to a bidder: a block trade of all legs at the prices of its bid, or nothing."""
    offer = _own(gateway, principal, params.offer_id)
    bid = next((one for one in offer.bids.values() if one.bid_id == params.bid_id), None)
    if bid is None:
        raise ApiError(13020, {"reason": "unknown_bid"})
    held = _held(gateway, principal.account_id)
    if any(not 0 < abs(leg.lots) <= held.get(leg.slot, 0) * (1 if leg.lots > 0 else -1) for leg in offer.legs):
        raise engine_refusal(int(Reason.REDUCE_ONLY_WOULD_INCREASE))
    payload = BlockTrade(
        bid.account_id, principal.account_id, gateway.offers.now_ms(), f"offer-{offer.offer_id}-{bid.bid_id}",
        offer.trades(bid.price_units),
    )  # fmt: skip
    news = gateway.submit(commands.cold(CommandKind.BLOCK_TRADE, payload, principal.account_id), session)
    if news.rejected:
        raise engine_refusal(news.rejected)
    gateway.offers.end(offer, "sold")
    own = gateway.archive.block(principal.account_id, news.block_id)
    return {
        "id": render_orders.block_name(news.block_id),
        "timestamp": ms(own[0][0].event.time_ns),
        "trades": [render_orders.user_trade(record, as_maker) for record, as_maker in own],
    }


def _own(gateway, principal, offer_id: int) -> Offer:
    offer, _ = _offer(gateway, offer_id)
    if offer.account_id != principal.account_id:
        raise ApiError(13020, {"reason": "unknown_offer"})
    return offer


@method("private/cancel_portfolio_offer", params=OfOffer, scope=WRITE)
def cancel_portfolio_offer(gateway, session, principal, params: OfOffer) -> str:
    """Sell to nobody."""
    gateway.offers.end(_own(gateway, principal, params.offer_id), "withdrawn")
    return "ok"


@method("private/cancel_portfolio_bid", params=OfOffer, scope=WRITE)
def cancel_portfolio_bid(gateway, session, principal, params: OfOffer) -> str:
    """Withdraw one's bid."""
    offer, _ = _offer(gateway, params.offer_id)
    if offer.bids.pop(principal.account_id, None) is None:
        raise ApiError(13020, {"reason": "unknown_bid"})
    return "ok"
