"""What became of orders: open orders, order states, histories and own trades."""

from typing import Any

from gateway import render_orders
from gateway.archive import Selection
from gateway.errors import invalid_param
from gateway.methods.filters import (
    MAX_COUNT,
    MAX_OFFSET,
    check_count,
    check_kind,
    continuation,
    covers,
    currency_name,
    order_types,
    parse_order_id,
)
from gateway.methods.market import CurrencyTrades, InstrumentTrades, Trades, ascending, span
from gateway.protocol import Params
from gateway.registry import method

READ = "trade:read"
MAX_LABELLED = 100


class Open(Params, kw_only=True):
    kind: str | None = None
    type: str | None = None
    currency: str | None = None
    instrument_name: str | None = None
    label: str | None = None


def _open(gateway, principal, params: Open, slot: int = -1) -> list[dict[str, Any]]:
    currency, kind = currency_name(params.currency), check_kind(params.kind)
    types = order_types(params.type)
    return [
        render_orders.order(record)
        for record in gateway.projection.live_orders(principal.account_id, slot)
        if record.order_type in types
        and covers(record.listing, currency, kind)
        and params.label in (None, record.label)
    ]


@method("private/get_open_orders", params=Open, scope=READ)
def get_open_orders(gateway, session, principal, params: Open) -> list[dict[str, Any]]:
    """All open orders, waiting ones included."""
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
    """Orders that carry a label: open ones, then at most a hundred closed ones, newest end first."""
    selection, label = Selection(None, currency_name(params.currency)), params.label
    found = [
        record
        for record in gateway.projection.live_orders(principal.account_id)
        if record.label == label and selection.holds(record.listing)
    ]
    if label:
        found += gateway.archive.closed_orders(principal.account_id, selection, True, MAX_LABELLED, label=label)
    return [render_orders.order(record) for record in found]


class History(Params, kw_only=True):
    currency: str | None = None
    instrument_name: str | None = None
    kind: str | None = None
    count: int | None = None
    offset: int | None = None
    include_old: bool | None = None
    include_unfilled: bool | None = None
    with_continuation: bool | None = None
    continuation: str | None = None


def _history(gateway, principal, params: History, selection: Selection) -> Any:
    offset, count = params.offset or 0, check_count(params.count, 20)
    if not 0 <= offset <= MAX_OFFSET:
        raise invalid_param("offset", f"must be between 0 and {MAX_OFFSET}")
    before = continuation(params.continuation)
    unfilled = bool(params.include_unfilled)
    found = gateway.archive.closed_orders(principal.account_id, selection, unfilled, offset + count + 1, before)
    shown = found[offset : offset + count]
    orders = [render_orders.order(record) for record in shown]
    if not params.with_continuation:
        return orders
    more = len(found) > offset + count
    return {"orders": orders, "continuation": str(shown[-1].closed_rank) if more and shown else None}


@method("private/get_order_history_by_currency", params=History, scope=READ)
def get_order_history_by_currency(gateway, session, principal, params: History) -> Any:
    """Closed orders of a currency, newest first; unfilled ones only where asked for."""
    if params.currency is None:
        raise invalid_param("currency", "value required")
    selection = Selection(None, currency_name(params.currency), check_kind(params.kind))
    return _history(gateway, principal, params, selection)


@method("private/get_order_history_by_instrument", params=History, scope=READ)
def get_order_history_by_instrument(gateway, session, principal, params: History) -> Any:
    """Closed orders of an instrument, newest first."""
    if params.instrument_name is None:
        raise invalid_param("instrument_name", "value required")
    selection = Selection(gateway.archive.listing(params.instrument_name))
    return _history(gateway, principal, params, selection)


def _user_page(gateway, principal, params: Trades, selection: Selection) -> dict[str, Any]:
    count = check_count(params.count, 10)
    bounds, up = span(params), ascending(params)
    found = gateway.archive.user_trades(principal.account_id, selection, bounds, up, count + 1)
    trades = [render_orders.user_trade(record, as_maker) for record, as_maker in found[:count]]
    return {"trades": trades, "has_more": len(found) > count}


@method(
    "private/get_user_trades_by_currency",
    "private/get_user_trades_by_currency_and_time",
    params=CurrencyTrades,
    scope=READ,
)
def get_user_trades_by_currency(gateway, session, principal, params: CurrencyTrades) -> dict[str, Any]:
    """Own trades of a currency."""
    selection = Selection(None, currency_name(params.currency), check_kind(params.kind))
    return _user_page(gateway, principal, params, selection)


@method(
    "private/get_user_trades_by_instrument",
    "private/get_user_trades_by_instrument_and_time",
    params=InstrumentTrades,
    scope=READ,
)
def get_user_trades_by_instrument(gateway, session, principal, params: InstrumentTrades) -> dict[str, Any]:
    """Own trades of an instrument."""
    return _user_page(gateway, principal, params, Selection(gateway.archive.listing(params.instrument_name)))


@method("private/get_user_trades_by_order", params=OrderId, scope=READ)
def get_user_trades_by_order(gateway, session, principal, params: OrderId) -> list[dict[str, Any]]:
    """Own trades of one order, oldest first, at most a thousand."""
    record = gateway.order_of(principal.account_id, parse_order_id(params.order_id))
    found = gateway.archive.trades_of_order(principal.account_id, record.order_id, MAX_COUNT)
    return [render_orders.user_trade(trade, as_maker) for trade, as_maker in found]


class TriggerHistory(Params, kw_only=True):
    currency: str
    instrument_name: str | None = None
    count: int | None = None
    continuation: str | None = None


@method("private/get_trigger_order_history", params=TriggerHistory, scope=READ)
def get_trigger_order_history(gateway, session, principal, params: TriggerHistory) -> dict[str, Any]:
    """Waiting orders that ended, newest placement first; the token is an order's number."""
    currency, count = currency_name(params.currency), check_count(params.count, 20)
    before = continuation(params.continuation)
    listing = None if params.instrument_name is None else gateway.archive.listing(params.instrument_name)
    if listing is not None and not covers(listing, currency, "any"):
        return {"entries": [], "continuation": None}
    selection = Selection(listing, currency)
    found = gateway.archive.triggers(principal.account_id, selection, count + 1, before)
    shown = found[:count]
    more = len(found) > count
    entries = [render_orders.trigger_entry(record) for record in shown]
    return {"entries": entries, "continuation": str(shown[-1].order_id) if more else None}
