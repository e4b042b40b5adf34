"""A small, tight venue for generated histories: two underlyings, three currencies, ten contracts, low limits."""

import msgspec

from exchange.config import (
    Config,
    CreateAccount,
    Currency,
    Fees,
    Instrument,
    Leg,
    Limits,
    MatrixParameters,
    TickStep,
    Underlying,
)
from exchange.governance import Governance
from exchange.parameters import (
    Concentration,
    ExpiryBasis,
    GridColumn,
    IsolatedParameters,
    LeverageTier,
    Peg,
    RateTier,
    Skew,
)
from exchange.parameters_span import (
    CalendarSpread,
    SpanCredit,
    SpanCredits,
    SpanParameters,
    SpanTier,
    SpreadLeg,
)

START_NS = 1_767_225_600 * 10**9
HOUR_NS = 3_600 * 10**9
DAY_NS = 24 * HOUR_NS
SHORT_EXPIRY_NS = START_NS + 3 * HOUR_NS
LONG_EXPIRY_NS = START_NS + 40 * DAY_NS
COIN, DOLLAR = 10**10, 10**6
OPTION_FEES = Fees(maker_ppm=300, taker_ppm=300)
OPTION_TICKS = (TickStep(above_units=0, tick_units=1), TickStep(above_units=50, tick_units=5))

# A low delta threshold and a weak dampener, so that every charge of the model binds somewhere.
BTC_MATRIX = MatrixParameters(
    extended_dampener_usd=2_000, delta_threshold_usd=60_000, delta_move_per_coin_e9=20_000_000
)
STALE = {"mark_stale_ns": 120 * 10**9, "mark_halt_ns": 170 * 10**9}
BREAKER = {"breaker_move_ppm": 140_000, "breaker_window_ns": 60 * 10**9, "breaker_pause_ns": 15 * 10**9}
TWO = {"jump_sources": 2, "jump_hold_ns": 40 * 10**9}
GOVERNANCE = Governance(
    stress_ppm=1_250_000, margin_notice_ns=8 * 10**9, override_wait_ns=90 * 10**9, override_max_ns=60 * 10**9,
    max_proposals=6,
)  # fmt: skip
"""So that generated histories are live most of the time and in the other stages now and then."""
ETH_MATRIX = MatrixParameters(price_range_ppm=180_000, annualised_move_risk_ppm=50_000, minimum_move_ppm=5_000)
BTC_SPAN = SpanParameters(
    tiers=(
        SpanTier(name="near", from_days=0, to_days=31),
        SpanTier(name="middle", from_days=31, to_days=93),
        SpanTier(name="far", from_days=93, to_days=3_650),
    ),
    calendar=(
        CalendarSpread(priority=2, first="near", second="middle", rate_ppm=15_000, second_ratio_ppm=1_100_000),
        CalendarSpread(priority=1, first="near", second="near", rate_ppm=5_000),
        CalendarSpread(priority=3, first="far", second="near", rate_ppm=30_000, first_ratio_ppm=700_000),
        CalendarSpread(priority=4, first="middle", second="middle", rate_ppm=9_000),
    ),
    delivery_ppm=2_000,
    delivery_days=1,
    short_option_minimum_ppm=60_000,
)
BTC_POINTS = msgspec.structs.replace(BTC_SPAN, vol_scan_kind="points", vol_scan_range_ppm=450_000)
"""So many points that a vol may fall to nothing."""
ETH_SPAN = SpanParameters(price_scan_range_ppm=180_000, vol_scan_range_ppm=300_000, short_option_method="maximum")
OWN_MATRIX = MatrixParameters(
    extended_moves_ppm=(),
    extended_dampener_usd=500,
    columns=(
        GridColumn(move_ppm=-120_000, vol="up"),
        GridColumn(move_ppm=-60_000),
        GridColumn(move_ppm=70_000, vol="down", weight_ppm=1_250_000),
        GridColumn(move_ppm=140_000, vol="up"),
        GridColumn(move_ppm=-400_000, extended=True),
        GridColumn(move_ppm=900_000, vol="up", extended=True, weight_ppm=150_000),
    ),
)
SPAN_CREDITS = SpanCredits(
    credits=(
        SpanCredit(
            priority=1,
            legs=(
                SpreadLeg(underlying="BTC", ratio_ppm=1_000_000, side="long"),
                SpreadLeg(underlying="ETH", ratio_ppm=29_000_000, side="short"),
            ),
            rate_ppm=700_000,
        ),
    )
)


# Charges beside the grid, so large that each decides about some orders.
CHARGES = {
    "future_initial_ppm": 12_000,
    "future_maintenance_ppm": 6_000,
    "short_option_initial_ppm": 30_000,
    "short_option_maintenance_ppm": 20_000,
    "settlement_basis_ppm": 15_000,
    "peg": Peg(tiers=(RateTier(above_usd=0, rate_ppm=2_000), RateTier(above_usd=3_000, rate_ppm=40_000))),
    "skew": Skew(cap_base_ppm=900_000, width_ppm=1_000_000),
    "expiry_basis": ExpiryBasis(move_ppm=90_000, add_ppm=1_500_000, multiplier_ppm=4_000_000),
    "horizon_days": 5,
    "concentration": Concentration(
        open_interest_share_ppm=150_000,
        open_interest_rate_ppm=30_000,
        open_interest_floor_usd=2_000,
        depth_move_ppm=30_000,
        depth_cap_ppm=15_000,
        depth_floor_usd=500,
    ),
}


def option(name: str, strike: int, expiry_ns: int, option_type: str, linear: bool = False) -> Instrument:
    return Instrument(
        name=name, kind="option", underlying="BTC", settlement="USDC" if linear else "BTC", inverse=not linear,
        price_unit_e8=10**8 if linear else 10**4, lot_size_e8=10**6 if linear else 10**7,
        tick_steps=(TickStep(above_units=0, tick_units=1),) if linear else OPTION_TICKS, expiry_ns=expiry_ns,
        strike_e8=strike * 10**8, option_type=option_type, max_quantity_lots=200_000,
        max_price_units=200_000 if linear else 262_143, fees=OPTION_FEES,
    )  # fmt: skip


def instruments(short_expiry_ns: int = SHORT_EXPIRY_NS) -> tuple[Instrument, ...]:
    """Slots in this order."""
    inverse = {"settlement": "BTC", "inverse": True, "price_unit_e8": 5 * 10**7, "lot_size_e8": 10**9}
    future = Fees(maker_ppm=0, taker_ppm=500)
    maker = Fees(maker_ppm=100, taker_ppm=500)
    return (
        Instrument(
            name="BTC-PERPETUAL", kind="perpetual", underlying="BTC", fees=future, block_min_lots=200, **inverse
        ),
        Instrument(
            name="BTC-LONG", kind="future", underlying="BTC", expiry_ns=LONG_EXPIRY_NS, fees=maker,
            min_quantity_lots=10, **inverse,
        ),
        option("BTC-SHORT-95000-C", 95_000, short_expiry_ns, "call"),
        option("BTC-SHORT-95000-P", 95_000, short_expiry_ns, "put"),
        option("BTC-LONG-110000-C", 110_000, LONG_EXPIRY_NS, "call"),
        option("BTC-LONG-110000-P", 110_000, LONG_EXPIRY_NS, "put"),
        Instrument(
            name="BTC_USDC-PERPETUAL", kind="perpetual", underlying="BTC", settlement="USDC", inverse=False,
            price_unit_e8=5 * 10**7, lot_size_e8=10**5, fees=maker,
        ),
        option("BTC_USDC-LONG-90000-P", 90_000, LONG_EXPIRY_NS, "put", linear=True),
        option("BTC_USDC-LONG-90000-C", 90_000, LONG_EXPIRY_NS, "call", linear=True),
        Instrument(
            name="ETH-PERPETUAL", kind="perpetual", underlying="ETH", settlement="ETH", inverse=True,
            price_unit_e8=5 * 10**6, lot_size_e8=10**8, max_position_lots=60_000, fees=future,
        ),
    )  # fmt: skip


def combo(name: str, legs: dict[str, int], expiry_ns: int, linear: bool = False, **changes: int) -> Instrument:
    """A combo of futures where none of the legs is an option."""
    options = any(leg.endswith(("-C", "-P")) for leg in legs)
    price_unit, lot_size = (10**8 if linear else 10**4, 10**6 if linear else 10**7) if options else (5 * 10**7, 10**9)
    zero = 200_000 if options else 4_000_000
    return Instrument(
        name=name, kind="option_combo" if options else "future_combo", underlying="BTC",
        settlement="USDC" if linear else "BTC", inverse=not linear, price_unit_e8=price_unit, lot_size_e8=lot_size,
        expiry_ns=expiry_ns, max_quantity_lots=10_000, max_price_units=2 * zero, zero_units=zero,
        legs=tuple(Leg(instrument=leg, ratio=ratio) for leg, ratio in legs.items()), **changes,
    )  # fmt: skip


def combos(short_expiry_ns: int) -> tuple[Instrument, ...]:
    """A spread of futures, a straddle, a calendar spread, a ratio and a linear risk reversal."""
    call, put, short = "BTC-LONG-110000-C", "BTC-LONG-110000-P", "BTC-SHORT-95000-C"
    return (
        combo("BTC-FS", {"BTC-LONG": 1, "BTC-PERPETUAL": -1}, LONG_EXPIRY_NS, min_quantity_lots=10),
        combo("BTC-STRADDLE", {call: 1, put: 1}, LONG_EXPIRY_NS),
        combo("BTC-CALENDAR", {call: 1, short: -1}, short_expiry_ns),
        combo("BTC-RATIO", {call: 1, put: -2, short: 3}, short_expiry_ns),
        combo("USDC-REVERSAL", {"BTC_USDC-LONG-90000-C": 1, "BTC_USDC-LONG-90000-P": -1}, LONG_EXPIRY_NS, linear=True),
    )


def configuration(**changes: object) -> Config:
    """The venue; `changes` replace fields of Config."""
    parts = {
        "venue_id": "tight",
        "currencies": (
            Currency(name="BTC", exponent=10, haircut_ppm=20_000, underlying="BTC"),
            Currency(name="USDC", exponent=6, debt_ppm=1_050_000),
            Currency(name="ETH", exponent=10, haircut_ppm=75_000, debt_ppm=1_025_000, underlying="ETH"),
        ),
        "underlyings": (
            Underlying(name="BTC", index_name="btc_usd", matrix=BTC_MATRIX, **STALE),
            Underlying(name="ETH", index_name="eth_usd", matrix=ETH_MATRIX, **STALE),
        ),
        "instruments": instruments(),
        "limits": Limits(
            max_accounts=16,
            max_instruments=64,
            max_open_orders_per_account=24,
            max_open_orders=170,
            max_triggers_per_account=14,
        ),
    }
    return Config(**(parts | changes))


def spanned(configuration: Config, both: bool = True, crowded: bool = True) -> Config:
    """The same venue with BTC, or BTC and ETH with credits between them, margined by `span16`; else BTC's vols move by
    points, and ETH has a grid of its own. `crowded`: BTC has a charge on concentration."""
    btc, eth = configuration.underlyings
    span = BTC_SPAN if both else BTC_POINTS
    if crowded:
        span = msgspec.structs.replace(span, concentration=CHARGES["concentration"])
    btc = msgspec.structs.replace(btc, span=span)
    if not both:
        eth = msgspec.structs.replace(eth, matrix=OWN_MATRIX)
        return msgspec.structs.replace(configuration, underlyings=(btc, eth))
    eth = msgspec.structs.replace(eth, span=ETH_SPAN)
    return msgspec.structs.replace(configuration, underlyings=(btc, eth), span_credits=SPAN_CREDITS)


def governed(configuration: Config) -> Config:
    """The same venue with a circuit breaker and two sources for a jump of its first underlying, stressed withdrawals
    and impatient overrides."""
    first, *others = configuration.underlyings
    return msgspec.structs.replace(
        configuration, underlyings=(msgspec.structs.replace(first, **BREAKER, **TWO), *others), governance=GOVERNANCE
    )


def tightened(configuration: Config) -> Config:
    """The same venue with bands in vol and limits of orders and owners that bind."""
    limits = msgspec.structs.replace(
        configuration.limits, option_band_vol_ppm=600_000, max_order_notional_usd=150_000, max_order_delta_e8=10**8,
        max_order_vega_usd=150, max_open_orders_per_owner=26,
    )  # fmt: skip
    listed = tuple(
        msgspec.structs.replace(spec, max_owner_position_lots=9_000 if spec.name == "BTC-LONG" else 0)
        for spec in configuration.instruments
    )
    return msgspec.structs.replace(configuration, limits=limits, instruments=listed)


def charged(configuration: Config, **charges: object) -> Config:
    """The same venue with charges beside the grid of every underlying; `charges` replace some."""
    underlyings = tuple(
        msgspec.structs.replace(u, matrix=msgspec.structs.replace(u.matrix, **(CHARGES | charges)))
        for u in configuration.underlyings
    )
    return msgspec.structs.replace(configuration, underlyings=underlyings)


def averaged(configuration: Config) -> Config:
    """The same venue, priced on settlement averages."""
    underlyings = tuple(msgspec.structs.replace(u, settlement_averaging=True) for u in configuration.underlyings)
    return msgspec.structs.replace(configuration, underlyings=underlyings)


def indebted(configuration: Config) -> Config:
    """The same venue where debts cost interest and are converted above a limit."""
    terms = {"debt_interest_ppm": 900_000, "conversion_spread_ppm": 3_000}
    limits = {"BTC": 0, "USDC": 400 * 10**6, "ETH": 10**9}
    currencies = tuple(
        msgspec.structs.replace(c, **terms, debt_limit_minor=limits[c.name]) for c in configuration.currencies
    )
    return msgspec.structs.replace(configuration, currencies=currencies)


ACCOUNTS = 12


def with_buckets(configuration: Config) -> Config:
    """The same venue with room for isolated positions, on tiers that bind."""
    limits = msgspec.structs.replace(configuration.limits, max_accounts=34, max_isolated_positions=2)
    tiers = (
        LeverageTier(0, 20_000, 10_000),
        LeverageTier(9_000, 50_000, 30_000),
        LeverageTier(30_000, 200_000, 90_000),
    )
    underlyings = tuple(
        msgspec.structs.replace(u, isolated=IsolatedParameters(tiers=tiers)) if u.name == "BTC" else u
        for u in configuration.underlyings
    )
    return msgspec.structs.replace(configuration, limits=limits, underlyings=underlyings)


def accounts() -> list[CreateAccount]:
    """Twelve of every model; the last four belong to two owners."""
    owners = [0] * 8 + [9, 9, 11, 11]
    models = ["segregated_pm", "cross_pm", "segregated_pm", "cross_sm", "segregated_sm", "cross_pm"] * 2
    return [
        CreateAccount(name=f"account-{i + 1}", owner_id=owner, margin_model=model)
        for i, (owner, model) in enumerate(zip(owners, models, strict=True))
    ]


def deposit_minor(currency: str) -> int:
    """About 8,000 USD."""
    return {"BTC": COIN * 8 // 100, "USDC": 8_000 * DOLLAR, "ETH": COIN * 2}[currency]
