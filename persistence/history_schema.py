"""Tables of the history store: what the events of a venue leave behind, in the engine's own integers.

`rank` orders things that ended or happened: seq of the command << 20 | number of the event within it. A group is a
settlement currency and a kind (`future`, `option`), so that a query by currency reads an index and not a table.
"""

SCHEMA_VERSION = 7
RANK_BITS = 20
RESOLUTIONS = (1, 3, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440)
"""Minutes of a candle; all begin at multiples of their length since 1970 (days at 00:00 UTC)."""
MINUTE_NS = 60_000_000_000
HOUR_NS = 60 * MINUTE_NS
UNFILLED_KEPT_NS = 24 * HOUR_NS
"""Closed orders that never traded, and waiting ones that became none, are kept for so long in venue time."""

SCHEMA = """
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER, seq INTEGER, time_ns INTEGER, trade_id INTEGER);
CREATE TABLE currencies (number INTEGER PRIMARY KEY, name TEXT, exponent INTEGER);
CREATE TABLE groups (group_id INTEGER PRIMARY KEY, currency TEXT, kind TEXT);
CREATE TABLE instruments (
    instrument_id INTEGER PRIMARY KEY, slot INTEGER, name TEXT, group_id INTEGER, view BLOB);
CREATE INDEX instruments_name ON instruments (name, instrument_id);
CREATE INDEX instruments_slot ON instruments (slot, instrument_id);

CREATE TABLE orders (
    order_id INTEGER PRIMARY KEY, account_id INTEGER, instrument_id INTEGER, group_id INTEGER, side INTEGER,
    order_type INTEGER, time_in_force INTEGER, flags INTEGER, price_units INTEGER, quantity_lots INTEGER,
    filled_lots INTEGER, filled_value INTEGER, state INTEGER, cancel_reason INTEGER, replaced INTEGER,
    created_ns INTEGER, updated_ns INTEGER, label TEXT, closed_rank INTEGER);
CREATE INDEX orders_live ON orders (order_id) WHERE closed_rank IS NULL;
CREATE INDEX orders_account ON orders (account_id, closed_rank) WHERE closed_rank IS NOT NULL;
CREATE INDEX orders_filled ON orders (account_id, group_id, closed_rank)
    WHERE closed_rank IS NOT NULL AND filled_lots > 0;
CREATE INDEX orders_instrument ON orders (account_id, instrument_id, closed_rank)
    WHERE closed_rank IS NOT NULL AND filled_lots > 0;
CREATE INDEX orders_label ON orders (account_id, label, closed_rank)
    WHERE closed_rank IS NOT NULL AND label <> '';
CREATE INDEX orders_unfilled ON orders (updated_ns) WHERE closed_rank IS NOT NULL AND filled_lots = 0;

CREATE TABLE triggers (
    order_id INTEGER PRIMARY KEY, account_id INTEGER, instrument_id INTEGER, group_id INTEGER, side INTEGER,
    order_type INTEGER, time_in_force INTEGER, flags INTEGER, price_units INTEGER, quantity_lots INTEGER,
    trigger_source INTEGER, trigger_price_e8 INTEGER, trigger_offset_e8 INTEGER, placed_lots INTEGER,
    became_id INTEGER, state INTEGER, cancel_reason INTEGER, replaced INTEGER, created_ns INTEGER,
    updated_ns INTEGER, label TEXT, closed_rank INTEGER);
CREATE INDEX triggers_live ON triggers (order_id) WHERE closed_rank IS NULL;
CREATE INDEX triggers_account ON triggers (account_id, order_id) WHERE closed_rank IS NOT NULL;
CREATE INDEX triggers_unfired ON triggers (updated_ns) WHERE closed_rank IS NOT NULL AND became_id = 0;

CREATE TABLE trades (
    trade_id INTEGER PRIMARY KEY, instrument_id INTEGER, group_id INTEGER, time_ns INTEGER, trade_seq INTEGER,
    event BLOB, taker_type INTEGER, maker_type INTEGER, taker_state INTEGER, maker_state INTEGER,
    taker_label TEXT, maker_label TEXT, block_id INTEGER);
CREATE INDEX trades_instrument ON trades (instrument_id, trade_id);
CREATE INDEX trades_group ON trades (group_id, trade_id);
CREATE INDEX trades_time ON trades (time_ns, trade_id);
CREATE INDEX trades_block ON trades (block_id, trade_id) WHERE block_id > 0;
CREATE TABLE fills (
    account_id INTEGER, group_id INTEGER, trade_id INTEGER, instrument_id INTEGER, order_id INTEGER,
    as_maker INTEGER, PRIMARY KEY (account_id, group_id, trade_id)) WITHOUT ROWID;
CREATE INDEX fills_instrument ON fills (account_id, instrument_id, trade_id);
CREATE INDEX fills_order ON fills (order_id, trade_id);

CREATE TABLE transactions (
    rank INTEGER, account_id INTEGER, currency TEXT, time_ns INTEGER, type TEXT, instrument_id INTEGER,
    change_minor INTEGER, fee_minor INTEGER, balance_minor INTEGER, quantity_lots INTEGER, price_e8 INTEGER,
    mark_e8 INTEGER, index_e8 INTEGER, side INTEGER, as_maker INTEGER, order_id INTEGER, trade_id INTEGER,
    reference INTEGER, PRIMARY KEY (account_id, currency, rank)) WITHOUT ROWID;
CREATE TABLE settlements (
    account_id INTEGER, group_id INTEGER, rank INTEGER, instrument_id INTEGER, time_ns INTEGER,
    quantity_lots INTEGER, payout_minor INTEGER, realised_minor INTEGER, price_e8 INTEGER,
    PRIMARY KEY (account_id, group_id, rank)) WITHOUT ROWID;
CREATE INDEX settlements_instrument ON settlements (account_id, instrument_id, rank);
CREATE TABLE deliveries (
    underlying TEXT, expiry_ns INTEGER, price_e8 INTEGER, PRIMARY KEY (underlying, expiry_ns)) WITHOUT ROWID;

CREATE TABLE candles (
    instrument_id INTEGER, resolution INTEGER, tick_ns INTEGER, open INTEGER, high INTEGER, low INTEGER,
    close INTEGER, lots INTEGER, value INTEGER, base_e12 INTEGER,
    PRIMARY KEY (instrument_id, resolution, tick_ns)) WITHOUT ROWID;
CREATE TABLE funding (
    instrument_id INTEGER, hour_ns INTEGER, samples INTEGER, sum_rate_e12 INTEGER, last_rate_e12 INTEGER,
    open_index_e8 INTEGER, last_index_e8 INTEGER, last_minute INTEGER,
    PRIMARY KEY (instrument_id, hour_ns)) WITHOUT ROWID;
"""

ADD_INSTRUMENT = "INSERT OR REPLACE INTO instruments VALUES (?, ?, ?, ?, ?)"
ADD_CURRENCY = "INSERT OR REPLACE INTO currencies VALUES (?, ?, ?)"
ADD_GROUP = "INSERT OR REPLACE INTO groups VALUES (?, ?, ?)"
ADD_ORDER = "INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
ADD_TRIGGER = (
    "INSERT OR REPLACE INTO triggers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
ADD_TRADE = "INSERT OR REPLACE INTO trades VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
ADD_FILL = "INSERT OR REPLACE INTO fills VALUES (?, ?, ?, ?, ?, ?)"
ADD_TRANSACTION = "INSERT OR REPLACE INTO transactions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
ADD_SETTLEMENT = "INSERT OR REPLACE INTO settlements VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
ADD_DELIVERY = "INSERT OR REPLACE INTO deliveries VALUES (?, ?, ?)"
ADD_CANDLE = """
INSERT INTO candles VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET open = coalesce(open, excluded.open),
    high = max(coalesce(high, excluded.high), coalesce(excluded.high, high)),
    low = min(coalesce(low, excluded.low), coalesce(excluded.low, low)), close = coalesce(excluded.close, close),
    lots = lots + excluded.lots, value = value + excluded.value, base_e12 = base_e12 + excluded.base_e12
"""
ADD_FUNDING = """
INSERT INTO funding VALUES (?, ?, 1, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET samples = samples + 1, sum_rate_e12 = sum_rate_e12 + excluded.sum_rate_e12,
    last_rate_e12 = excluded.last_rate_e12, last_index_e8 = excluded.last_index_e8,
    last_minute = excluded.last_minute
WHERE excluded.last_minute > last_minute
"""
DROP_UNFILLED = "DELETE FROM orders WHERE closed_rank IS NOT NULL AND filled_lots = 0 AND updated_ns < ?"
DROP_UNFIRED = "DELETE FROM triggers WHERE closed_rank IS NOT NULL AND became_id = 0 AND updated_ns < ?"
SET_META = "UPDATE meta SET seq = ?, time_ns = ?, trade_id = ?"
LIVE_ORDERS = "SELECT * FROM orders WHERE closed_rank IS NULL ORDER BY order_id"
LIVE_TRIGGERS = "SELECT * FROM triggers WHERE closed_rank IS NULL ORDER BY order_id"
SLOTS = "SELECT slot, instrument_id, view FROM instruments ORDER BY instrument_id"
