"""Placing, editing and cancelling orders: parameters to commands, news to answers."""

import math
from operator import attrgetter
from typing import Any

from exchange.commands import (
    LABEL_MAX_BYTES,
    OrderFlag,
    OrderType,
    Side,
    TimeInForce,
)
from exchange.reasons import Reason
from gateway import records, render_orders
from gateway.auth import Principal
from gateway.errors import ApiError, engine_refusal, invalid_param
from gateway.listing import Listing
from gateway.methods.filters import parse_order_id
from gateway.protocol import Params
from gateway.registry import method
from gateway.units import NotExact, to_e8, whole_units

TRADE = "trade:read_write"
MAX_UNITS = (1 << 62) - 1
TIMES_IN_FORCE = {
    "good_til_cancelled": TimeInForce.GOOD_TIL_CANCELLED,
    "immediate_or_cancel": TimeInForce.IMMEDIATE_OR_CANCEL,
    "fill_or_kill": TimeInForce.FILL_OR_KILL,
}
TRIGGER_TYPES = ("stop_limit", "stop_market", "take_limit", "take_market", "market_limit", "trailing_stop")


class Quantity(Params, kw_only=True):
    amount: float | None = None
    contracts: float | None = None


class Order(Quantity, kw_only=True):
    instrument_name: str
    type: str | None = None
    price: float | None = None
    label: str | None = None
    time_in_force: str | None = None
    post_only: bool | None = None
    reject_post_only: bool | None = None
    reduce_only: bool | None = None
    valid_until: int | None = None
    mmp: bool | None = None
    advanced: str | None = None
    display_amount: float | None = None
    trigger: str | None = None
    trigger_price: float | None = None
    trigger_offset: float | None = None
    linked_order_type: str | None = None
    unique_label: bool | None = None


_NOT_OFFERED = (
    "advanced",
    "display_amount",
    "linked_order_type",
    "mmp",
    "trigger",
    "trigger_offset",
    "trigger_price",
)
_not_offered = attrgetter(*_NOT_OFFERED)


def quantity_lots(listing: Listing, params: Quantity) -> int | None:
    """Lots of `amount` or `contracts` (which must agree), None where neither is given."""
    found = None
    for name, unit_e8 in (("amount", 100_000_000), ("contracts", listing.contract_e8)):
        value = getattr(params, name)
        if value is None:
            continue
        if not math.isfinite(value) or value <= 0:
            raise invalid_param(name, "must be a positive number")
        try:
            lots, rest = divmod(to_e8(value) * unit_e8, 100_000_000 * listing.lot_e8)
        except NotExact:
            lots, rest = 0, 1
        if rest:
            raise invalid_param(name, "must be a multiple of contract size")
        if lots > MAX_UNITS:
            raise ApiError(10021, {"reason": "quantity_too_large"})
        if found is not None and lots != found:
            raise invalid_param("contracts", "amount and contracts do not agree")
        found = lots
    return found


def price_units(listing: Listing, price: float) -> int:
    """Price units of a price; 10043 off the tick, -32602 for what is no price."""
    if not math.isfinite(price):
        raise invalid_param("price", "wrong format")
    try:
        units = whole_units(price, listing.unit_e8)
    except NotExact:
        raise ApiError(10043, {"reason": "price_off_tick"}) from None
    if not -MAX_UNITS <= units <= MAX_UNITS:
        raise ApiError(10007 if units > 0 else 10005, {"reason": "price_out_of_range"})
    return units


def order_flags(params: Any) -> int:
    """Flag bits of the parameters that are set."""
    flags = 0
    if params.post_only:
        flags |= OrderFlag.POST_ONLY
        if params.reject_post_only:
            flags |= OrderFlag.REJECT_POST_ONLY
    if params.reduce_only:
        flags |= OrderFlag.REDUCE_ONLY
    if getattr(params, "unique_label", None):
        flags |= OrderFlag.UNIQUE_LABEL
    return int(flags)


def label_bytes(text: str | None) -> bytes:
    label = (text or "").encode()
    if len(label) > LABEL_MAX_BYTES:
        raise invalid_param("label", f"must be at most {LABEL_MAX_BYTES} bytes long")
    return label


def placed(gateway, session, command: bytearray) -> dict[str, Any]:
    """Submit an order command; the answer with the order and its trades, or the engine's refusal."""
    news = gateway.submit(command, session)
    record = news.accepted or news.edited
    if news.rejected:
        raise engine_refusal(news.rejected)
    if record is None:
        raise ApiError(11094, {"reason": "no_answer_from_engine"})
    own = [trade for trade in news.trades if trade.event.taker_order_id == record.order_id]
    return {
        "order": render_orders.order(record),
        "trades": [render_orders.user_trade(trade, as_maker=False) for trade in own],
    }


def _order_type(params: Order) -> OrderType:
    word = params.type or "limit"
    if word in TRIGGER_TYPES:
        raise ApiError(10033, {"reason": "order type not offered", "param": "type"})
    if any(asked := _not_offered(params)):
        name = next(name for name, value in zip(_NOT_OFFERED, asked, strict=True) if value)
        raise ApiError(10033, {"reason": "not offered", "param": name})
    if word not in ("limit", "market"):
        raise invalid_param("type", "invalid value")
    return OrderType.MARKET if word == "market" else OrderType.LIMIT


def _time_in_force(params: Order, order_type: OrderType) -> int:
    word = params.time_in_force or "good_til_cancelled"
    if word == "good_til_day":
        raise ApiError(10033, {"reason": "not offered", "param": "time_in_force"})
    if word not in TIMES_IN_FORCE:
        raise invalid_param("time_in_force", "invalid value")
    chosen = TIMES_IN_FORCE[word]
    if order_type == OrderType.MARKET and chosen == TimeInForce.GOOD_TIL_CANCELLED:
        chosen = TimeInForce.IMMEDIATE_OR_CANCEL
    return int(chosen)


def _place(gateway, session, principal: Principal, params: Order, side: Side) -> dict[str, Any]:
    order_type = _order_type(params)
    listing = gateway.listing(params.instrument_name)
    lots = quantity_lots(listing, params)
    if lots is None:
        raise invalid_param("amount", "value required")
    units = 0
    if order_type == OrderType.LIMIT:
        if params.price is None:
            raise invalid_param("price", "value required")
        units = price_units(listing, params.price)
    valid_until_ms = params.valid_until or 0
    if not 0 <= valid_until_ms < 1 << 43:
        raise invalid_param("valid_until", "must be a timestamp in milliseconds")
    label = label_bytes(params.label)
    command = records.place_order(
        tail=label,
        account_id=principal.account_id,
        instrument=listing.slot,
        side=int(side),
        order_type=int(order_type),
        time_in_force=_time_in_force(params, order_type),
        flags=order_flags(params),
        price_units=units,
        quantity_lots=lots,
        key_id=principal.key_id,
        label_bytes=len(label),
        valid_until_ns=valid_until_ms * 1_000_000,
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


class Edit(Quantity, kw_only=True):
    order_id: str
    price: float | None = None
    post_only: bool | None = None
    reject_post_only: bool | None = None
    reduce_only: bool | None = None


def refused(gateway, principal: Principal, order_id: int, reason: int) -> ApiError:
    """The refusal of a cancel or edit; an order known to have ended is not_open_order."""
    ended = reason in (Reason.UNKNOWN_ORDER, Reason.ORDER_CLOSED)
    if ended and gateway.archive.order(principal.account_id, order_id) is not None:
        return ApiError(11044)
    return engine_refusal(reason)


def open_order(gateway, principal: Principal, text: str) -> Any:
    record = gateway.order_of(principal.account_id, parse_order_id(text))
    if record.state != "open":
        raise ApiError(11044)
    return record


@method("private/edit", params=Edit, scope=TRADE, kind="matching")
def edit(gateway, session, principal, params: Edit) -> dict[str, Any]:
    """Change price or total amount of an open order; what is not given stays."""
    record = open_order(gateway, principal, params.order_id)
    lots = quantity_lots(record.listing, params)
    units = record.price_units if params.price is None else price_units(record.listing, params.price)
    flags = record.flags & (OrderFlag.POST_ONLY | OrderFlag.REJECT_POST_ONLY | OrderFlag.REDUCE_ONLY)
    for name, bits in (
        ("post_only", OrderFlag.POST_ONLY),
        ("reject_post_only", OrderFlag.REJECT_POST_ONLY),
        ("reduce_only", OrderFlag.REDUCE_ONLY),
    ):
        wanted = getattr(params, name)
        if wanted is not None:
            flags = flags | bits if wanted else flags & ~bits
    command = records.edit_order(
        account_id=principal.account_id,
        order_id=record.order_id,
        price_units=units,
        quantity_lots=record.quantity_lots if lots is None else lots,
        flags=int(flags),
        key_id=principal.key_id,
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


@method("private/close_position", params=ClosePosition, scope=TRADE, kind="matching")
def close_position(gateway, session, principal, params: ClosePosition) -> dict[str, Any]:
    """Close a position with a reduce-only order, market or limit."""
    if params.type not in ("limit", "market"):
        raise invalid_param("type", "invalid value")
    listing = gateway.listing(params.instrument_name)
    views = gateway.engine.positions(principal.account_id)
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
