"""What has happened: candles, transactions, settlements, funding, delivery prices."""

from datetime import UTC, datetime
from typing import Any

from gateway import archive_prices
from gateway.archive import Selection
from gateway.errors import ApiError, invalid_param
from gateway.methods.filters import MAX_OFFSET, check_count, continuation, currency_name
from gateway.protocol import Params
from gateway.registry import method
from gateway.render_orders import direction
from gateway.units import E8, money, ms

READ = "account:read"
TYPES = ("settlement", "delivery", "bankruptcy")
CANDLE_COLUMNS = ("tick", "open", "high", "low", "close", "volume", "cost")
_MS = 1_000_000


def time_ns(value: int, name: str) -> int:
    """A timestamp in milliseconds as nanoseconds; -32602 where it is out of range."""
    if not 0 <= value < 1 << 43:
        raise invalid_param(name, "must be a timestamp in milliseconds")
    return value * _MS


class Between(Params, kw_only=True):
    instrument_name: str
    start_timestamp: int
    end_timestamp: int


class Chart(Between, kw_only=True):
    resolution: str


@method("public/get_tradingview_chart_data", params=Chart)
def get_tradingview_chart_data(gateway, session, principal, params: Chart) -> dict[str, Any]:
    """Candles from the first trade on, at most the newest five thousand; nothing later than now."""
    minutes = archive_prices.RESOLUTION_WORDS.get(params.resolution)
    if minutes is None:
        raise invalid_param("resolution", "invalid value")
    listing = gateway.archive.listing(params.instrument_name)
    start, end = time_ns(params.start_timestamp, "start_timestamp"), time_ns(params.end_timestamp, "end_timestamp")
    if start > end:
        raise invalid_param("end_timestamp", "must not be before start_timestamp")
    found = archive_prices.candles(gateway.archive, listing, minutes, start, min(end, gateway.engine.time_ns))
    shown = [candle.wire(listing) for candle in found]
    columns = {name + "s" if name == "tick" else name: [one[name] for one in shown] for name in CANDLE_COLUMNS}
    return {"status": "ok" if shown else "no_data", **columns}


def _perpetual(gateway, params: Between) -> Any:
    listing = gateway.listing(params.instrument_name)
    if listing.view.kind != "perpetual":
        raise ApiError(10020, {"reason": "not a perpetual"})
    return listing


@method("public/get_funding_rate_history", params=Between)
def get_funding_rate_history(gateway, session, principal, params: Between) -> list[dict[str, Any]]:
    """Hourly funding of a perpetual, at most 31 days of it."""
    listing = _perpetual(gateway, params)
    start, end = time_ns(params.start_timestamp, "start_timestamp"), time_ns(params.end_timestamp, "end_timestamp")
    return archive_prices.funding_hours(gateway.archive, listing, start, end)


@method("public/get_funding_rate_value", params=Between)
def get_funding_rate_value(gateway, session, principal, params: Between) -> float:
    """Funding of a perpetual between two times, as a share of notional."""
    listing = _perpetual(gateway, params)
    start, end = time_ns(params.start_timestamp, "start_timestamp"), time_ns(params.end_timestamp, "end_timestamp")
    return archive_prices.funding_value(gateway.archive, listing, start, min(end, gateway.engine.time_ns))


class Deliveries(Params, kw_only=True):
    index_name: str
    offset: int | None = None
    count: int | None = None


@method("public/get_delivery_prices", params=Deliveries)
def get_delivery_prices(gateway, session, principal, params: Deliveries) -> dict[str, Any]:
    """Delivery prices of an index by day of expiry, newest first."""
    underlying = gateway.listings.index_by_name(params.index_name)
    if underlying < 0:
        raise invalid_param("index_name", "invalid value")
    offset, count = params.offset or 0, check_count(params.count, 10)
    if not 0 <= offset <= MAX_OFFSET:
        raise invalid_param("offset", f"must be between 0 and {MAX_OFFSET}")
    rows, total = [], 0
    if gateway.archive.reader is not None:
        name = gateway.engine.config.underlyings[underlying].name
        rows, total = gateway.archive.reader.deliveries(name, offset, count)
    data = [
        {
            "date": datetime.fromtimestamp(expiry_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d"),
            "delivery_price": price / E8,
        }
        for expiry_ns, price in rows
    ]
    return {"data": data, "records_total": total}


class Settlements(Params, kw_only=True):
    type: str | None = None
    count: int | None = None
    continuation: str | None = None
    search_start_timestamp: int | None = None


class CurrencySettlements(Settlements, kw_only=True):
    currency: str


class InstrumentSettlements(Settlements, kw_only=True):
    instrument_name: str


def _settlements(gateway, account_id: int, params: Settlements, selection: Selection) -> dict[str, Any]:
    if params.type is not None and params.type not in TYPES:
        raise invalid_param("type", "invalid value")
    count, before = check_count(params.count, 20), continuation(params.continuation)
    start = time_ns(params.search_start_timestamp or 0, "search_start_timestamp")
    found = []
    if params.type in (None, "delivery"):
        found = archive_prices.settlements(gateway.archive, account_id, selection, start, before, count + 1)
    shown = found[:count]
    token = str(shown[-1][0][2]) if len(found) > count else "none"
    return {"settlements": [_settlement(row, listing) for row, listing in shown], "continuation": token}


def _settlement(row: Any, listing: Any) -> dict[str, Any]:
    account_id, _, _, _, stamp, lots, payout, realised, price = row
    found = {
        "type": "delivery",
        "timestamp": ms(stamp),
        "instrument_name": listing.name,
        "index_price": price / E8,
        "mark_price": price / E8,
    }
    if account_id:
        profit = money(realised, listing.exponent)
        found |= {
            "position": listing.amount(lots),
            "profit_loss": profit,
            "session_profit_loss": profit,
            "cashflow": money(payout if listing.is_option else realised, listing.exponent),
        }
    return found


@method("private/get_settlement_history_by_currency", params=CurrencySettlements, scope="trade:read")
def get_settlement_history_by_currency(gateway, session, principal, params: CurrencySettlements) -> dict[str, Any]:
    """Deliveries of the account's positions, newest first."""
    return _settlements(gateway, principal.account_id, params, Selection(None, currency_name(params.currency)))


@method("private/get_settlement_history_by_instrument", params=InstrumentSettlements, scope="trade:read")
def get_settlement_history_by_instrument(gateway, session, principal, params: InstrumentSettlements) -> dict[str, Any]:
    """The same of one contract."""
    selection = Selection(gateway.archive.listing(params.instrument_name))
    return _settlements(gateway, principal.account_id, params, selection)


@method("public/get_last_settlements_by_currency", params=CurrencySettlements)
def get_last_settlements_by_currency(gateway, session, principal, params: CurrencySettlements) -> dict[str, Any]:
    """Deliveries of contracts, newest first."""
    return _settlements(gateway, 0, params, Selection(None, currency_name(params.currency)))


@method("public/get_last_settlements_by_instrument", params=InstrumentSettlements)
def get_last_settlements_by_instrument(gateway, session, principal, params: InstrumentSettlements) -> dict[str, Any]:
    """The delivery of one contract."""
    return _settlements(gateway, 0, params, Selection(gateway.archive.listing(params.instrument_name)))


class Log(Params, kw_only=True):
    currency: str
    start_timestamp: int
    end_timestamp: int
    query: str | None = None
    count: int | None = None
    continuation: int | str | None = None
    subaccount_id: int | None = None


@method("private/get_transaction_log", params=Log, scope=READ)
def get_transaction_log(gateway, session, principal, params: Log) -> dict[str, Any]:
    """Transactions in a currency, newest first; `query` is a type (trade, deposit, ...)."""
    currency, count = currency_name(params.currency), check_count(params.count, 100)
    before = continuation(None if params.continuation is None else str(params.continuation))
    start, end = time_ns(params.start_timestamp, "start_timestamp"), time_ns(params.end_timestamp, "end_timestamp")
    reader, account_id = gateway.archive.reader, principal.account_id
    if reader is None or before == 0:
        return {"logs": [], "continuation": None}
    word = params.query or ""
    found = reader.transactions(account_id, currency, before, start, end + _MS - 1, word, count + 1)
    shown = found[:count]
    exponent = gateway.listings.exponents.get(currency, 4)
    name = gateway.engine.account(account_id).name
    logs = [_transaction(gateway, row, exponent) | {"username": name} for row in shown]
    return {"logs": logs, "continuation": shown[-1][0] if len(found) > count else None}


def _transaction(gateway, row: Any, exponent: int) -> dict[str, Any]:
    (rank, account_id, currency, stamp, word, instrument_id, change, fee, balance, lots, price, mark, index, side,
     as_maker, order_id, trade_id, reference, other_id) = row  # fmt: skip

    def coins(amount: int | None) -> float | None:
        return None if amount is None else money(amount, exponent)

    found: dict[str, Any] = {
        "id": rank,
        "user_seq": rank,
        "user_id": account_id,
        "timestamp": ms(stamp),
        "type": word,
        "currency": currency,
        "change": coins(change),
        "cashflow": coins(None if change is None else change + fee if word == "trade" else change),
        "balance": coins(balance),
        "commission": coins(fee),
        "info": {"reference": reference} if reference else {},
    }
    if other_id is not None:
        other = {"other_user_id": other_id, "other_user": gateway.engine.account_name(other_id)}
        found["info"] |= {"transfer_type": "subaccount"} | other
    if instrument_id is not None:
        listing = gateway.archive.by_id(instrument_id)
        found |= {"instrument_name": listing.name, "amount": listing.amount(lots), "contracts": listing.contracts(lots)}
        if price is not None:
            found |= {"price": price / E8, "price_currency": listing.quote}
    if trade_id is not None:
        found |= {
            "side": direction(side),
            "user_role": "maker" if as_maker else "taker",
            "order_id": str(order_id),
            "trade_id": str(trade_id),
            "mark_price": mark / E8,
            "index_price": index / E8,
        }
    return found
