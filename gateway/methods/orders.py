"""What became of orders: open orders, order states, histories and own trades."""

from typing import Any

from gateway import render_orders
from gateway.errors import invalid_param
from gateway.methods.filters import (
    check_count,
    check_kind,
    covers,
    currency_name,
    order_type_filter,
    page,
    parse_order_id,
)
from gateway.methods.market import CurrencyTrades, InstrumentTrades, Trades, within
from gateway.protocol import Params
from gateway.registry import method

READ = "trade:read"


class Open(Params, kw_only=True):
    kind: str | None = None
    type: str | None = None
    currency: str | None = None
    instrument_name: str | None = None
    label: str | None = None


def _open(gateway, principal, params: Open, slot: int = -1) -> list[dict[str, Any]]:
    currency, kind = currency_name(params.currency), check_kind(params.kind)
    if order_type_filter(params.type) == "none":
        return []
    return [
        render_orders.order(record)
        for record in gateway.projection.open_orders(principal.account_id, slot)
        if covers(record.listing, currency, kind) and params.label in (None, record.label)
    ]


@method("private/get_open_orders", params=Open, scope=READ)
def get_open_orders(gateway, session, principal, params: Open) -> list[dict[str, Any]]:
    """All open orders."""
    return _open(gateway, principal, params)


@method("private/get_open_orders_by_currency", params=Open, scope=READ)
def get_open_orders_by_currency(gateway, session, principal, params: Open) -> list[dict[str, Any]]:
    """Open orders of a settlement currency."""
    if params.currency is None:
        raise invalid_param("currency", "value required")
    return _open(gateway, principal, params)


@method("private/get_open_orders_by_instrument", params=Open, scope=READ)
def get_open_orders_by_instrument(gateway, session, principal, params: Open) -> list[dict[str, Any]]:
    """Open orders of an instrument."""
    if params.instrument_name is None:
        raise invalid_param("instrument_name", "value required")
    return _open(gateway, principal, params, gateway.listing(params.instrument_name).slot)


@method("private/get_open_orders_by_label", params=Open, scope=READ)
def get_open_orders_by_label(gateway, session, principal, params: Open) -> list[dict[str, Any]]:
    """Open orders that carry a label."""
    if params.currency is None:
        raise invalid_param("currency", "value required")
    return _open(gateway, principal, params)


class OrderId(Params, kw_only=True):
    order_id: str


@method("private/get_order_state", params=OrderId, scope=READ)
def get_order_state(gateway, session, principal, params: OrderId) -> dict[str, Any]:
    """One order, open or recently closed."""
    return render_orders.order(gateway.order_of(principal.account_id, parse_order_id(params.order_id)))


class ByLabel(Params, kw_only=True):
    currency: str
    label: str


@method("private/get_order_state_by_label", params=ByLabel, scope=READ)
def get_order_state_by_label(gateway, session, principal, params: ByLabel) -> list[dict[str, Any]]:
    """Orders that carry a label, open ones first."""
    currency, projection = currency_name(params.currency), gateway.projection
    found = projection.open_orders(principal.account_id) + projection.closed_orders(principal.account_id)
    return [
        render_orders.order(record)
        for record in found
        if record.label == params.label and covers(record.listing, currency, "any")
    ]


class History(Params, kw_only=True):
    currency: str | None = None
    instrument_name: str | None = None
    kind: str | None = None
    count: int | None = None
    offset: int | None = None
    include_old: bool | None = None
    include_unfilled: bool | None = None


def _history(gateway, principal, params: History) -> list[dict[str, Any]]:
    currency, kind = currency_name(params.currency), check_kind(params.kind)
    offset = params.offset or 0
    if offset < 0:
        raise invalid_param("offset", "must not be negative")
    chosen = [
        record
        for record in gateway.projection.closed_orders(principal.account_id)
        if covers(record.listing, currency, kind)
        and params.instrument_name in (None, record.listing.name)
        and (params.include_unfilled or record.filled_lots)
    ]
    count = check_count(params.count, 20)
    return [render_orders.order(record) for record in chosen[offset : offset + count]]


@method("private/get_order_history_by_currency", params=History, scope=READ)
def get_order_history_by_currency(gateway, session, principal, params: History) -> list[dict[str, Any]]:
    """Closed orders of a currency, newest first; unfilled ones only where asked for."""
    if params.currency is None:
        raise invalid_param("currency", "value required")
    params.instrument_name = None
    return _history(gateway, principal, params)


@method("private/get_order_history_by_instrument", params=History, scope=READ)
def get_order_history_by_instrument(gateway, session, principal, params: History) -> list[dict[str, Any]]:
    """Closed orders of an instrument, newest first."""
    if params.instrument_name is None:
        raise invalid_param("instrument_name", "value required")
    params.currency = params.kind = None
    return _history(gateway, principal, params)


def _user_page(gateway, principal, params: Trades, currency: str, kind: str, name: str | None) -> dict[str, Any]:
    chosen = [
        (record, as_maker)
        for record, as_maker in gateway.projection.account_trades(principal.account_id)
        if covers(record.listing, currency, kind)
        and name in (None, record.listing.name)
        and within(record.event, params)
    ]
    from_start = params.start_timestamp is not None or params.start_seq is not None
    entries, more = page(chosen, check_count(params.count, 10), params.sorting, oldest_first=from_start)
    trades = [render_orders.user_trade(record, as_maker) for record, as_maker in entries]
    return {"trades": trades, "has_more": more}


@method(
    "private/get_user_trades_by_currency",
    "private/get_user_trades_by_currency_and_time",
    params=CurrencyTrades,
    scope=READ,
)
def get_user_trades_by_currency(gateway, session, principal, params: CurrencyTrades) -> dict[str, Any]:
    """Own trades of a currency."""
    currency, kind = currency_name(params.currency), check_kind(params.kind)
    return _user_page(gateway, principal, params, currency, kind, None)


@method(
    "private/get_user_trades_by_instrument",
    "private/get_user_trades_by_instrument_and_time",
    params=InstrumentTrades,
    scope=READ,
)
def get_user_trades_by_instrument(gateway, session, principal, params: InstrumentTrades) -> dict[str, Any]:
    """Own trades of an instrument."""
    name = gateway.listing(params.instrument_name).name
    return _user_page(gateway, principal, params, "ANY", "any", name)


@method("private/get_user_trades_by_order", params=OrderId, scope=READ)
def get_user_trades_by_order(gateway, session, principal, params: OrderId) -> list[dict[str, Any]]:
    """Own trades of one order, oldest first."""
    record = gateway.order_of(principal.account_id, parse_order_id(params.order_id))
    found = []
    for trade, as_maker in gateway.projection.account_trades(principal.account_id):
        order_id = trade.event.maker_order_id if as_maker else trade.event.taker_order_id
        if order_id == record.order_id:
            found.append(render_orders.user_trade(trade, as_maker))
    return found
