"""Placing and editing orders: parameters to commands, news to answers."""

from typing import Any

from exchange import commands
from exchange.commands import SLOT_BYTES, OrderFlag, OrderType, Side, TimeInForce
from exchange.reasons import Reason
from gateway import records, render_orders
from gateway.auth import Principal
from gateway.errors import ApiError, engine_refusal, invalid_param
from gateway.methods import linking, order_terms
from gateway.methods.filters import parse_order_id
from gateway.methods.order_terms import PRICED, Order, Quantity, label_bytes, price_units, quantity_lots
from gateway.protection import DEFAULT_GROUP, group_number
from gateway.protocol import Params
from gateway.registry import method
from gateway.waiting import WaitingOrder

TRADE = "trade:read_write"


def placed(gateway, session, command: bytearray) -> dict[str, Any]:
    """Submit an order command; the answer with the order and its trades, or the engine's refusal."""
    news = gateway.submit(command, session)
    record = news.accepted or news.edited
    if news.rejected:
        raise engine_refusal(news.rejected)
    if record is None:
        raise ApiError(11094, {"reason": "no_answer_from_engine"})
    own = [one for one in news.trades if one.event.taker_order_id == record.order_id and one.combo is None]
    return {
        "order": render_orders.order(record),
        "trades": [render_orders.user_trade(trade, as_maker=False) for trade in own],
    }


def _place(gateway, session, principal: Principal, params: Order, side: Side) -> dict[str, Any]:
    if linking.wanted(params):
        return linking.place(gateway, session, principal, params, side)
    order_type = order_terms.order_type(params)
    listing = gateway.listing(params.instrument_name)
    lots = quantity_lots(listing, params)
    if lots is None:
        raise invalid_param("amount", "value required")
    units = 0
    if params.advanced is not None:
        order_terms.check_advanced(listing, params.advanced, bool(params.post_only), gateway.engine.time_ns)
    elif order_type in PRICED:
        if params.price is None:
            raise invalid_param("price", "value required")
        units = price_units(listing, params.price)
    label = label_bytes(params.label)
    group = 0
    if params.mmp:
        group = group_number(gateway.engine, principal.account_id, listing.underlying, DEFAULT_GROUP)
    terms = order_terms.terms_tail(params, order_type, listing, group)
    command = records.place_order(
        tail=terms + label,
        terms_slots=len(terms) // SLOT_BYTES,
        account_id=principal.account_id,
        instrument=listing.slot,
        side=int(side),
        order_type=int(order_type),
        time_in_force=order_terms.time_in_force(params, order_type),
        flags=order_terms.order_flags(params),
        price_units=units,
        quantity_lots=lots,
        key_id=principal.key_id,
        label_bytes=len(label),
        valid_until_ns=order_terms.stamp_ns(params.valid_until),
    )
    return placed(gateway, session, command)


@method("private/buy", params=Order, scope=TRADE, kind="matching")
def buy(gateway, session, principal, params: Order) -> dict[str, Any]:
    """Place a buy order."""
    return _place(gateway, session, principal, params, Side.BUY)


@method("private/sell", params=Order, scope=TRADE, kind="matching")
def sell(gateway, session, principal, params: Order) -> dict[str, Any]:
    """Place a sell order."""
    return _place(gateway, session, principal, params, Side.SELL)


class Changes(Quantity, kw_only=True):
    """What an edit may change."""

    price: float | None = None
    post_only: bool | None = None
    reject_post_only: bool | None = None
    reduce_only: bool | None = None
    trigger_price: float | None = None
    trigger_offset: float | None = None
    display_amount: float | None = None
    mmp: bool | None = None
    advanced: str | None = None
    valid_until: int | None = None


class Edit(Changes, kw_only=True):
    order_id: str


class EditByLabel(Changes, kw_only=True):
    instrument_name: str
    label: str


def refused(gateway, principal: Principal, order_id: int, reason: int) -> ApiError:
    """The refusal of a cancel or edit; an order known to have ended is not_open_order."""
    ended = reason in (Reason.UNKNOWN_ORDER, Reason.ORDER_CLOSED)
    if ended and gateway.archive.order(principal.account_id, order_id) is not None:
        return ApiError(11044)
    return engine_refusal(reason)


def open_order(gateway, principal: Principal, text: str) -> Any:
    """An order of the account that is open or waits; 11044 where it has ended."""
    record = gateway.order_of(principal.account_id, parse_order_id(text))
    if record.state not in ("open", "untriggered"):
        raise ApiError(11044)
    return record


def _new_trigger(record: Any, params: Changes) -> int:
    """The trigger price asked for, 0: it stays. 11047 for what an order of this type does not have."""
    waits = isinstance(record, WaitingOrder)
    if waits and params.price is not None and record.order_type not in PRICED:
        raise ApiError(11047, {"reason": "the order has no price", "param": "price"})
    if params.trigger_price is None:
        return 0
    if not waits or record.order_type == OrderType.TRAILING_STOP:
        raise ApiError(11047, {"reason": "the order has no trigger price of its own", "param": "trigger_price"})
    return order_terms.trigger_e8(params.trigger_price, "trigger_price")


def _new_value(gateway, record: Any, params: Changes, post_only: bool) -> bytes:
    """The slot of terms that an edit of an advanced order repeats; 11041 where order and request do not go together."""
    advanced = 0 if isinstance(record, WaitingOrder) else record.advanced
    if params.advanced is None:
        if advanced:
            raise invalid_param("advanced", "must be repeated for an advanced order")
        return b""
    order_terms.check_advanced(record.listing, params.advanced, post_only, gateway.engine.time_ns)
    if order_terms.ADVANCED[params.advanced] != advanced:
        raise ApiError(11041)
    return order_terms.value_tail(params.advanced, params.price, record.advanced_value_e8)


def _new_terms(record: Any, params: Changes) -> bytes:
    """The slot of new special terms, nothing where they stay; 11047 for what an order of this type does not have."""
    given: dict[str, int] = {}
    if params.trigger_offset is not None:
        if not isinstance(record, WaitingOrder) or record.order_type != OrderType.TRAILING_STOP:
            raise ApiError(11047, {"reason": "for trailing stops only", "param": "trigger_offset"})
        given["trigger_offset_e8"] = order_terms.trigger_e8(params.trigger_offset, "trigger_offset")
    if params.display_amount is not None:
        if not record.display_lots:
            raise ApiError(11047, {"reason": "for icebergs only", "param": "display_amount"})
        given["display_lots"] = order_terms.display_lots(record.listing, params.display_amount)
    return commands.order_terms(**given) if given else b""


@method("private/edit", params=Edit, scope=TRADE, kind="matching")
def edit(gateway, session, principal, params: Edit) -> dict[str, Any]:
    """Change price, total amount, trigger or display of an open or waiting order; what is not given stays."""
    return _edit(gateway, session, principal, params, open_order(gateway, principal, params.order_id))


@method("private/edit_by_label", params=EditByLabel, scope=TRADE, kind="matching")
def edit_by_label(gateway, session, principal, params: EditByLabel) -> dict[str, Any]:
    """Change the one open or waiting order of an instrument that has the label."""
    listing = gateway.listing(params.instrument_name)
    found = [
        record
        for record in gateway.projection.live_orders(principal.account_id, listing.slot)
        if record.label == params.label and not record.flags & OrderFlag.QUOTE
    ]
    if not found:
        raise ApiError(10004)
    if len(found) > 1:
        raise invalid_param("label", "several open orders have it")
    return _edit(gateway, session, principal, params, found[0])


def _edit(gateway, session, principal, params: Changes, record: Any) -> dict[str, Any]:
    stamp_ns = order_terms.stamp_ns(params.valid_until)
    if stamp_ns and max(gateway.sequencer.clock(), gateway.engine.time_ns) > stamp_ns:
        raise engine_refusal(int(Reason.VALID_UNTIL_PASSED))
    if params.mmp is not None and params.mmp != bool(record.flags & OrderFlag.PROTECTED):
        raise invalid_param("mmp", "cannot be changed")
    trigger_price_e8, terms = _new_trigger(record, params), _new_terms(record, params)
    lots = quantity_lots(record.listing, params)
    flags = record.flags & (OrderFlag.POST_ONLY | OrderFlag.REJECT_POST_ONLY | OrderFlag.REDUCE_ONLY)
    for name, bits in (
        ("post_only", OrderFlag.POST_ONLY),
        ("reject_post_only", OrderFlag.REJECT_POST_ONLY),
        ("reduce_only", OrderFlag.REDUCE_ONLY),
    ):
        wanted = getattr(params, name)
        if wanted is not None:
            flags = flags | bits if wanted else flags & ~bits
    if flags & OrderFlag.POST_ONLY and isinstance(record, WaitingOrder) and record.order_type not in PRICED:
        raise ApiError(11055, {"reason": "post_only_not_allowed"})
    value = _new_value(gateway, record, params, bool(flags & OrderFlag.POST_ONLY))
    units = record.price_units
    if params.price is not None and not value:
        units = price_units(record.listing, params.price)
    terms = value or terms
    command = records.edit_order(
        tail=terms,
        terms_slots=len(terms) // SLOT_BYTES,
        account_id=principal.account_id,
        order_id=record.order_id,
        price_units=units,
        quantity_lots=record.quantity_lots if lots is None else lots,
        flags=int(flags),
        key_id=principal.key_id,
        trigger_price_e8=trigger_price_e8,
    )
    try:
        return placed(gateway, session, command)
    except ApiError:
        if gateway.projection.news.rejected:
            raise refused(gateway, principal, record.order_id, gateway.projection.news.rejected) from None
        raise


class ClosePosition(Params, kw_only=True):
    instrument_name: str
    type: str
    price: float | None = None


@method("private/close_position", params=ClosePosition, scope=TRADE, kind="matching", reducing=True)
def close_position(gateway, session, principal, params: ClosePosition) -> dict[str, Any]:
    """Close a position with a reduce-only order, market or limit."""
    if params.type not in ("limit", "market"):
        raise invalid_param("type", "invalid value")
    listing = gateway.listing(params.instrument_name)
    owner = gateway.engine.bucket_of(principal.account_id, listing.slot) or principal.account_id
    views = gateway.engine.positions(owner)
    lots = next((view.quantity_lots for view in views if view.instrument == listing.slot), 0)
    if not lots:
        raise ApiError(10010)
    market = params.type == "market"
    if not market and params.price is None:
        raise invalid_param("price", "value required")
    force = TimeInForce.IMMEDIATE_OR_CANCEL if market else TimeInForce.GOOD_TIL_CANCELLED
    command = records.place_order(
        account_id=principal.account_id,
        instrument=listing.slot,
        side=int(Side.SELL if lots > 0 else Side.BUY),
        order_type=int(OrderType.MARKET if market else OrderType.LIMIT),
        time_in_force=int(force),
        flags=int(OrderFlag.REDUCE_ONLY),
        price_units=0 if market else price_units(listing, params.price),
        quantity_lots=abs(lots),
        key_id=principal.key_id,
    )
    return placed(gateway, session, command)
