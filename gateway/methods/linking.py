"""Orders that are placed together and hang together: parameters to one PLACE_LINKED."""

from typing import Any

from exchange import commands
from exchange.commands import CommandKind, LinkType, Side
from exchange.payloads import LinkedOrder, PlaceLinked
from gateway import render_orders
from gateway.auth import Principal
from gateway.errors import ApiError, engine_refusal, invalid_param
from gateway.links import FILL_CONDITIONS, LINK_TYPES
from gateway.listing import Listing
from gateway.methods import order_terms
from gateway.methods.order_terms import PRICED, Order, Otoco, price_units, quantity_lots

OTHERS = {
    LinkType.ONE_CANCELS_OTHER: 1,
    LinkType.ONE_TRIGGERS_OTHER: 1,
    LinkType.ONE_TRIGGERS_ONE_CANCELS_OTHER: 2,
}
SIDES = {"buy": Side.BUY, "sell": Side.SELL}


def wanted(params: Order) -> bool:
    """Whether an order is to be linked; 11047 for terms of links without a type."""
    if params.linked_order_type is not None:
        return True
    for name in ("otoco_config", "trigger_fill_condition"):
        if getattr(params, name):
            raise ApiError(11047, {"reason": "for linked orders only", "param": name})
    return False


def _linked(listing: Listing, params: Order | Otoco, side: Side, lots: int) -> LinkedOrder:
    """One of the orders, in the engine's units."""
    of_type = order_terms.order_type(params)
    units = 0
    if of_type in PRICED:
        if params.price is None:
            raise invalid_param("price", "value required")
        units = price_units(listing, params.price)
    price_e8, offset_e8, source = order_terms.trigger_terms(params, of_type)
    return LinkedOrder(
        instrument=listing.slot,
        side=int(side),
        quantity_lots=lots,
        price_units=units,
        order_type=int(of_type),
        time_in_force=order_terms.time_in_force(params, of_type),
        flags=order_terms.order_flags(params),
        label=order_terms.label_bytes(params.label).decode(),
        trigger_price_e8=price_e8,
        trigger_offset_e8=offset_e8,
        trigger_source=source,
    )


def _other(listing: Listing, params: Otoco, side: Side, lots: int) -> LinkedOrder:
    """Another order of the same instrument; what it leaves out it has as the first one does."""
    if params.direction is not None:
        if params.direction not in SIDES:
            raise invalid_param("otoco_config", "direction must be buy or sell")
        side = SIDES[params.direction]
    if params.advanced is not None:
        raise ApiError(11047, {"reason": "not of linked orders", "param": "advanced"})
    own = quantity_lots(listing, params)
    return _linked(listing, params, side, lots if own is None else own)


def place(gateway, session, principal: Principal, params: Order, side: Side) -> dict[str, Any]:
    """Place an order with those linked to it; the answer is the first one's."""
    link_type = LINK_TYPES.get(params.linked_order_type or "")
    if link_type is None:
        raise invalid_param("linked_order_type", "invalid value")
    condition = FILL_CONDITIONS.get(params.trigger_fill_condition or "first_hit")
    if condition is None:
        raise invalid_param("trigger_fill_condition", "invalid value")
    others = params.otoco_config or []
    if len(others) != OTHERS[link_type]:
        raise invalid_param("otoco_config", f"must have {OTHERS[link_type]} entries")
    for name in ("mmp", "advanced", "display_amount"):
        if getattr(params, name):
            raise ApiError(11047, {"reason": "not of linked orders", "param": name})
    listing = gateway.listing(params.instrument_name)
    lots = quantity_lots(listing, params)
    if lots is None:
        raise invalid_param("amount", "value required")
    other_side = side if link_type == LinkType.ONE_CANCELS_OTHER else Side(1 - side)
    orders = [_linked(listing, params, side, lots)]
    orders += [_other(listing, other, other_side, lots) for other in others]
    payload = PlaceLinked(
        int(link_type), int(condition), principal.key_id, tuple(orders), order_terms.stamp_ns(params.valid_until)
    )
    news = gateway.submit(commands.cold(CommandKind.PLACE_LINKED, payload, principal.account_id), session)
    if news.rejected:
        raise engine_refusal(news.rejected)
    if news.linked is None:
        raise ApiError(11094, {"reason": "no_answer_from_engine"})
    first = news.linked
    own = [one for one in news.trades if one.event.taker_order_id == first.order_id]
    return {
        "order": render_orders.order(first),
        "trades": [render_orders.user_trade(trade, as_maker=False) for trade in own],
    }
