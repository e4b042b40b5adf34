"""Public market data: instruments, books, tickers, trades, indices."""

from typing import Any

from gateway import render_market, render_orders
from gateway.archive import Selection
from gateway.errors import invalid_param
from gateway.methods.filters import check_count, check_kind, covers, currency_name
from gateway.protocol import Params
from gateway.registry import method
from gateway.units import E8
from persistence.history_reads import MAX, Span

DEPTHS = (1, 5, 10, 20, 50, 100, 1000, 10000)
LONG_NAMES = {"BTC": "Bitcoin", "ETH": "Ethereum", "USDC": "USD Coin", "USDT": "Tether USD", "SOL": "Solana"}


class ByCurrency(Params, kw_only=True):
    currency: str | None = None
    kind: str | None = None
    expired: bool | None = None


class ByInstrument(Params, kw_only=True):
    instrument_name: str


@method("public/get_currencies")
def get_currencies(gateway, session, principal, params) -> list[dict[str, Any]]:
    """The ledger's currencies."""
    return [
        {
            "currency": currency.name,
            "currency_long": LONG_NAMES.get(currency.name, currency.name),
            "coin_type": currency.name,
            "decimals": currency.exponent,
            "min_confirmations": 1,
            "withdrawal_fee": 0.0,
            "min_withdrawal_fee": 0.0,
            "withdrawal_priorities": [],
            "in_cross_collateral_pool": currency.haircut_ppm < 1_000_000,
        }
        for currency in gateway.engine.config.currencies
    ]


@method("public/get_instruments", params=ByCurrency)
def get_instruments(gateway, session, principal, params: ByCurrency) -> Any:
    """Live instruments; a currency unknown here has none. Expired ones are not kept."""
    currency, kind = currency_name(params.currency), check_kind(params.kind)
    if params.expired:
        return []
    return gateway.instruments_json(currency, kind)


@method("public/get_instrument", params=ByInstrument)
def get_instrument(gateway, session, principal, params: ByInstrument) -> dict[str, Any]:
    """One instrument."""
    listing = gateway.listing(params.instrument_name)
    return render_market.instrument(listing, gateway.engine.market(listing.slot))


@method("public/ticker", "public/get_ticker", params=ByInstrument)
def ticker(gateway, session, principal, params: ByInstrument) -> dict[str, Any]:
    """One ticker."""
    return gateway.ticker(gateway.listing(params.instrument_name))


class OrderBook(ByInstrument, kw_only=True):
    depth: int | None = None


@method("public/get_order_book", params=OrderBook)
def get_order_book(gateway, session, principal, params: OrderBook) -> dict[str, Any]:
    """The book to a depth, with the ticker's figures."""
    listing = gateway.listing(params.instrument_name)
    depth = 5 if params.depth is None else params.depth
    if not 1 <= depth <= DEPTHS[-1]:
        raise invalid_param("depth", f"must be between 1 and {DEPTHS[-1]}")
    bids, asks = gateway.engine.depth(listing.slot, depth)
    return gateway.ticker(listing) | {
        "bids": [[listing.price(units), listing.amount(lots)] for units, lots in bids],
        "asks": [[listing.price(units), listing.amount(lots)] for units, lots in asks],
        "change_id": gateway.engine.market(listing.slot).change_id,
    }


def _book_summary(gateway, listing) -> dict[str, Any]:
    market, stats = gateway.engine.market(listing.slot), gateway.projection.stats(listing.slot)
    return render_market.book_summary(listing, market, stats, gateway.engine.time_ns)


@method("public/get_book_summary_by_currency", params=ByCurrency)
def get_book_summary_by_currency(gateway, session, principal, params: ByCurrency) -> list[dict[str, Any]]:
    """One line per instrument of a currency."""
    if params.currency is None:
        raise invalid_param("currency", "value required")
    currency, kind = currency_name(params.currency), check_kind(params.kind)
    listings = [gateway.listings.by_slot[slot] for slot in gateway.engine.instruments()]
    return [_book_summary(gateway, listing) for listing in listings if covers(listing, currency, kind)]


@method("public/get_book_summary_by_instrument", params=ByInstrument)
def get_book_summary_by_instrument(gateway, session, principal, params: ByInstrument) -> list[dict[str, Any]]:
    """The line of one instrument, in a list."""
    return [_book_summary(gateway, gateway.listing(params.instrument_name))]


class IndexName(Params, kw_only=True):
    index_name: str


@method("public/get_index_price", params=IndexName)
def get_index_price(gateway, session, principal, params: IndexName) -> dict[str, float]:
    """An index; its delivery estimate is the index itself."""
    underlying = gateway.listings.index_by_name(params.index_name)
    if underlying < 0:
        raise invalid_param("index_name", "invalid value")
    price = gateway.engine.index_price(underlying) / E8
    return {"index_price": price, "estimated_delivery_price": price}


@method("public/get_index_price_names")
def get_index_price_names(gateway, session, principal, params) -> list[str]:
    """The names of the indices."""
    return list(gateway.listings.index_names)


class Trades(Params, kw_only=True):
    count: int | None = None
    sorting: str | None = None
    start_timestamp: int | None = None
    end_timestamp: int | None = None
    start_seq: int | None = None
    end_seq: int | None = None
    start_id: str | None = None
    end_id: str | None = None
    include_old: bool | None = None


class InstrumentTrades(Trades, kw_only=True):
    instrument_name: str


class CurrencyTrades(Trades, kw_only=True):
    currency: str
    kind: str | None = None


def span(params: Trades) -> Span:
    """The asked range of time, sequence and id; a timestamp means its whole millisecond."""

    def number(value: int | None, default: int, name: str) -> int:
        if value is not None and not -(1 << 43) < value < 1 << 43:
            raise invalid_param(name, "out of range")
        return default if value is None else value

    first = 0 if params.start_id is None else trade_number(params.start_id, "start_id")
    last = MAX if params.end_id is None else trade_number(params.end_id, "end_id")
    start_ms = number(params.start_timestamp, 0, "start_timestamp")
    end_ms = number(params.end_timestamp, (1 << 43) - 1, "end_timestamp")
    return Span(
        start_ns=max(0, start_ms * 1_000_000),
        end_ns=end_ms * 1_000_000 + 999_999,
        start_seq=number(params.start_seq, 0, "start_seq"),
        end_seq=number(params.end_seq, MAX, "end_seq"),
        first_id=min(first, MAX),
        last_id=min(last, MAX),
    )


def ascending(params: Trades) -> bool:
    """Whether the oldest comes first: as asked, else where a start is given."""
    if params.sorting not in (None, "asc", "desc", "default"):
        raise invalid_param("sorting", "invalid value")
    if params.sorting in ("asc", "desc"):
        return params.sorting == "asc"
    return params.start_timestamp is not None or params.start_seq is not None


def trade_number(text: str, param: str) -> int:
    """The number of a trade id."""
    digits = text.rpartition("-")[2]
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 19):
        raise invalid_param(param, "wrong format")
    return int(digits)


def _page(gateway, selection: Selection, params: Trades) -> dict[str, Any]:
    count = check_count(params.count, 10)
    found = gateway.archive.trades(selection, span(params), ascending(params), count + 1)
    return {"trades": [render_orders.trade(record) for record in found[:count]], "has_more": len(found) > count}


@method(
    "public/get_last_trades_by_instrument",
    "public/get_last_trades_by_instrument_and_time",
    params=InstrumentTrades,
)
def get_last_trades_by_instrument(gateway, session, principal, params: InstrumentTrades) -> dict[str, Any]:
    """Trades of an instrument, newest first unless a start is given."""
    return _page(gateway, Selection(gateway.archive.listing(params.instrument_name)), params)


@method(
    "public/get_last_trades_by_currency",
    "public/get_last_trades_by_currency_and_time",
    params=CurrencyTrades,
)
def get_last_trades_by_currency(gateway, session, principal, params: CurrencyTrades) -> dict[str, Any]:
    """Trades of all instruments of a currency."""
    selection = Selection(None, currency_name(params.currency), check_kind(params.kind))
    return _page(gateway, selection, params)
