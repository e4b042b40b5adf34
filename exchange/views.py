"""What the engine shows: immutable snapshots of its compiled state, in its own integer units."""

import msgspec


class View(msgspec.Struct, frozen=True):
    """Base of all views."""


class InstrumentView(View):
    """A listed contract. `instrument` is its slot (recycled), `instrument_id` its number (never reused)."""

    instrument: int
    instrument_id: int
    name: str
    kind: str
    underlying: str
    settlement: str
    inverse: bool
    option_type: str | None
    strike_e8: int
    expiry_ns: int
    created_ns: int
    price_unit_e8: int
    lot_size_e8: int
    tick_steps: tuple[tuple[int, int], ...]
    min_quantity_lots: int
    max_quantity_lots: int
    max_price_units: int
    maker_ppm: int
    taker_ppm: int
    block_min_lots: int = 1
    zero_units: int = 0
    legs: tuple[tuple[str, int], ...] = ()
    """Combos: (name, ratio) of each leg."""


class MarketView(View):
    """The moving part of an instrument. Prices that do not exist are None."""

    state: str
    change_id: int
    mark_price_e8: int
    mark_vol_e6: int
    index_price_e8: int
    forward_e8: int
    best_bid_units: int | None
    best_bid_lots: int
    best_ask_units: int | None
    best_ask_lots: int
    last_price_units: int | None
    min_price_units: int
    max_price_units: int
    open_interest_lots: int
    volume_lots: int
    turnover_minor: int
    trade_seq: int
    funding_rate_e12: int
    """Current funding rate per funding period, 1e-12."""
    settlement_price_e8: int
    auction_until_ns: int = 0
    indicative_price_units: int | None = None
    """In an auction: where it would uncross now."""
    indicative_lots: int = 0


class OrderView(View):
    """A live order."""

    order_id: int
    account_id: int
    instrument: int
    side: int
    order_type: int
    time_in_force: int
    flags: int
    price_units: int
    quantity_lots: int
    remaining_lots: int
    filled_cost_minor: int
    """Sum of trade costs so far (same sign convention as positions, always of a buy). Orders of combos: price units
    from zero x lots x what a price unit of a lot is in minor units (inverse future combos: 1)."""
    created_ns: int
    updated_ns: int
    label: str
    shown_lots: int = 0
    """Of the remaining lots, those that the book shows (all, but for icebergs)."""
    display_lots: int = 0
    advanced: int = 0
    advanced_value_e8: int = 0
    protection_group: int = 0
    linked_order_id: int = 0
    """The other order of a one-cancels-other; 0: none."""


class ProtectionView(View):
    """A market-maker protection group of an account and its sums within the running interval."""

    group: int
    name: str
    underlying: str
    interval_ns: int
    frozen_ns: int
    quantity_limit_e8: int
    delta_limit_e8: int
    vega_limit_e8: int
    max_quote_e8: int
    frozen_until_ns: int
    """0: not frozen; -1: until it is reset."""
    quantity_e8: int
    delta_e8: int
    vega_e8: int


class TriggerView(View):
    """An order that waits for its trigger."""

    order_id: int
    account_id: int
    instrument: int
    side: int
    order_type: int
    time_in_force: int
    flags: int
    price_units: int
    quantity_lots: int
    trigger_source: int
    trigger_price_e8: int
    trigger_offset_e8: int
    created_ns: int
    updated_ns: int
    label: str
    primary_order_id: int = 0
    """A secondary order: whose fills it waits for."""
    linked_order_id: int = 0
    placed_lots: int = 0
    """Lots of a secondary order that are placed already."""
    next_source: int = 0
    """What a secondary stop order watches once it is placed."""


class PositionView(View):
    """A position: signed lots and cost; P&L figures in the settlement currency."""

    account_id: int
    instrument: int
    quantity_lots: int
    cost_minor: int
    mark_value_minor: int
    realised_minor: int
    funding_accrued_minor: int
    funding_realised_minor: int
    open_buy_lots: int
    open_sell_lots: int
    combo_buy_lots: int = 0
    """What open orders of combos with this leg would buy."""
    combo_sell_lots: int = 0


TENOR_DAYS = (7, 30, 90, 180, 365)
"""Bounds of vega by tenor: days to expiry up to the first (with it), between, beyond the last."""


class PositionGreeks(View):
    """Greeks of a position's lots, of the dollar price. `underlying`, `currency` are numbers of the configuration."""

    instrument: int
    underlying: int
    currency: int
    expiry_ns: int
    is_option: bool
    delta: float
    """Coins; inverse futures: size / mark."""
    gamma: float
    """Coins per USD."""
    vega: float
    """USD per 1.00 of vol."""
    theta: float
    """USD per year."""
    rho: float
    """USD per 1.00 of interest, the spot held."""
    net_delta: float
    """Delta less the value of an inverse option in coins."""


class ChainGreeks(View):
    """Sums of PositionGreeks over one underlying and settlement currency."""

    underlying: int
    currency: int
    index_price_e8: int
    delta: float
    gamma: float
    vega: float
    theta: float
    rho: float
    net_delta: float
    option_delta: float
    later_net_delta: float
    """`net_delta` without what expires at the closest listed expiry."""
    vega_by_tenor: tuple[float, ...]
    """One more than TENOR_DAYS."""


class CurrencyView(View):
    """One currency of an account at current marks; requirements are in the same currency.

    In a cross account the requirements are those of the whole account, converted at the index.
    """

    currency: str
    cash_minor: int
    equity_minor: int
    margin_balance_minor: int
    """What the requirement is compared with: the equity, in a formula model without the options' value."""
    futures_unrealised_minor: int
    options_value_minor: int
    initial_margin_minor: int
    maintenance_margin_minor: int
    position_initial_margin_minor: int
    """Initial margin of the positions alone."""
    available_minor: int
    withdrawable_minor: int


class AccountView(View):
    """An account as a whole."""

    account_id: int
    owner_id: int
    name: str
    margin_model: str
    level: int
    in_liquidation: bool
    liquidation_reason: int
    open_orders: int
    currencies: tuple[CurrencyView, ...]
    equity_usd_e4: int
    margin_balance_usd_e4: int
    initial_margin_usd_e4: int
    maintenance_margin_usd_e4: int


class AuctionView(View):
    """A running auction of an account's portfolio in one margin currency (`currency` "USD" for cross accounts)."""

    auction_id: int
    account_id: int
    currency: str
    phase: int
    reason: int
    opened_ns: int
    phase_ns: int
    value_minor: int
    requirement_minor: int
    price_minor: int
    remaining_ppm: int
    bids: int
    lease_id: int
    lease_currency: str
    lease_minor: int
    terms_version: int = 0


class LeaseView(View):
    """A lease on the insurance fund as the engine sees it; `capital_minor` the venue paid itself, before it."""

    lease_id: int
    auction_id: int
    currency: str
    requested_minor: int
    granted_minor: int
    used_minor: int
    state: str
    """requested, granted, exhausted, settling or settled"""
    capital_minor: int = 0


class Counters(View):
    """Running totals since genesis and current sizes."""

    commands: int
    orders: int
    trades: int
    events: int
    accounts: int
    open_orders: int
    instruments: int
    below_maintenance: int
    auctions_open: int
    auctions_closed: int
    liquidations: int
