"""The venue's configuration: the payload of the genesis command, so a replay needs nothing else.

All figures are integers with their unit in the name (`_ppm` parts per million, `_e8` 1e-8, `_ns` nanoseconds,
`_minor` minor units of the currency). Derived figures and cross-checks: `exchange/config_checks.py`.
"""

from typing import Annotated, Literal

import msgspec

from exchange.governance import Governance
from exchange.parameters import IsolatedParameters, MatrixParameters, StandardParameters, Struct
from exchange.parameters_span import SpanCredits, SpanParameters

MarginModel = Literal["segregated_pm", "cross_pm", "segregated_sm", "cross_sm"]
MARGIN_MODELS: tuple[MarginModel, ...] = ("segregated_pm", "cross_pm", "segregated_sm", "cross_sm")
InstrumentKind = Literal["perpetual", "future", "option", "future_combo", "option_combo"]
INSTRUMENT_KINDS: tuple[InstrumentKind, ...] = ("perpetual", "future", "option", "future_combo", "option_combo")
COMBO_KINDS: tuple[InstrumentKind, ...] = ("future_combo", "option_combo")


OwnerId = Annotated[int, msgspec.Meta(ge=0, le=(1 << 32) - 1)]
Reference = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class Currency(Struct):
    """A ledger currency. `exponent` e: one coin is 10**e minor units."""

    name: str
    exponent: int
    haircut_ppm: int = 0
    debt_ppm: int = 1_000_000
    debt_interest_ppm: int = 0
    """What a cross account's debt costs a year of 8,760 hours; charged at each full hour of UTC, rounded up."""
    debt_limit_minor: int = 0
    """A cross account's debt above it is converted into what it has in other currencies; 0: debts stay."""
    conversion_spread_ppm: int = 0
    """What such a conversion costs beside the index, of the money spent; to the venue's fees."""
    underlying: str | None = None
    """The underlying whose index values this currency in USD; None: worth one USD."""


class Underlying(Struct):
    """A coin with an index in USD."""

    name: str
    index_name: str
    matrix: MatrixParameters = MatrixParameters()
    standard: StandardParameters = StandardParameters()
    isolated: IsolatedParameters = IsolatedParameters()
    mark_jump_ppm: int = 200_000
    """An index move beyond this is held until `jump_sources` sources have said it."""
    jump_sources: int = 1
    """1: the next update confirms a held jump, whoever sends it (venues with a single source)."""
    jump_hold_ns: int = 60_000_000_000
    """How long a held jump waits to be confirmed."""
    breaker_move_ppm: int = 0
    """An index move beyond this within `breaker_window_ns` puts the instruments into an auction; 0: none does."""
    breaker_window_ns: int = 300_000_000_000
    breaker_pause_ns: int = 120_000_000_000
    mark_stale_ns: int = 10_000_000_000
    """Marks older than this: reduce-only; liquidations and auction clocks stand still."""
    mark_halt_ns: int = 60_000_000_000
    """Marks older than this: no trading."""
    perpetual_bound_ppm: int = 5_000
    """The perpetual's mark stays within this of the index."""
    perpetual_ema_ns: int = 30_000_000_000
    funding_clamp_ppm: int = 5_000
    funding_deadband_ppm: int = 250
    funding_period_ns: int = 28_800_000_000_000
    settlement_averaging: bool | msgspec.UnsetType = msgspec.UNSET
    """Options and dated futures are marked and margined on the average that they settle at, in the half hour before
    their expiry by what is left open of it."""
    span: SpanParameters | msgspec.UnsetType = msgspec.UNSET
    """Portfolio accounts are margined by `span16` here instead of `matrix`."""


class TickStep(Struct):
    """From `above_units` (in price units) on, prices are multiples of `tick_units`."""

    above_units: int
    tick_units: int


class Fees(Struct):
    """Rates of notional (futures: of value; options: of one coin or of the index, capped)."""

    maker_ppm: int = 0
    taker_ppm: int = 500
    delivery_ppm: int = 150
    option_cap_ppm: int = 125_000
    """Options: a fee is at most this share of the premium."""


class Leg(Struct):
    """A leg of a combo: `ratio` lots of it are bought (negative: sold) with a lot of the combo."""

    instrument: str
    ratio: int


class Instrument(Struct):
    """One listed contract, complete: what `ListInstruments` carries."""

    name: str
    kind: InstrumentKind
    underlying: str
    settlement: str
    """Currency of premium, P&L and fees."""
    inverse: bool
    """Futures: quoted in USD, settled in the coin. Options: quoted and settled in the coin."""
    price_unit_e8: int
    """Smallest tick step in 1e-8 of the quote currency."""
    lot_size_e8: int
    """Contract size of a lot in 1e-8: USD for inverse futures, coin otherwise."""
    tick_steps: tuple[TickStep, ...] = (TickStep(above_units=0, tick_units=1),)
    expiry_ns: int = 0
    strike_e8: int = 0
    option_type: Literal["call", "put"] | None = None
    min_quantity_lots: int = 1
    max_quantity_lots: int = 10_000_000
    max_price_units: int = 4_000_000
    max_position_lots: int = 100_000_000
    fees: Fees = Fees()
    max_owner_position_lots: int = 0
    """Over all accounts of an owner; 0: no such limit."""
    block_min_lots: int = 1
    """Smallest leg of a block trade."""
    legs: tuple[Leg, ...] = ()
    """Combos: 2 to 4 legs of one underlying and settlement currency."""
    zero_units: int = 0
    """Combos: the number of price units that means a price of zero (their prices may be negative)."""


class ListingRule(Struct, kw_only=True):
    """How a feed's chain becomes instruments of one (underlying, settlement) pair."""

    underlying: str
    settlement: str
    inverse: bool
    kinds: tuple[InstrumentKind, ...] = INSTRUMENT_KINDS
    future_price_unit_e8: int
    future_lot_size_e8: int
    option_price_unit_e8: int
    option_lot_size_e8: int
    option_tick_steps: tuple[TickStep, ...] = (TickStep(above_units=0, tick_units=1),)
    future_tick_steps: tuple[TickStep, ...] = (TickStep(above_units=0, tick_units=1),)
    future_fees: Fees = Fees()
    option_fees: Fees = Fees(maker_ppm=300, taker_ppm=300)
    future_max_price_units: int = 40_000_000
    option_max_price_units: int = 262_143


class Limits(Struct):
    """Bounds that keep every product inside its integer and every queue finite."""

    max_accounts: int = 1_000_000
    max_instruments: int = 16_384
    max_open_orders_per_account: int = 5_000
    max_open_orders: int = 2_000_000
    max_triggers_per_account: int = 500
    max_balance_minor: int = 1 << 60
    max_time_step_ns: int = 7 * 86_400_000_000_000
    price_band_ppm: int = 200_000
    """Futures: limit prices of buys above, of sells below the mark by more than this are refused."""
    option_band_coin_ppm: int = 50_000
    """Options: the same, as a share of the coin, plus `price_band_ppm` of the mark."""
    option_band_vol_ppm: int = 0
    """Options: a price is also refused beyond the one at mark vol x (1 +- this); 0: no band in vol."""
    option_band_ticks: int = 10
    """Options: the band in vol never comes closer to the mark than this many ticks."""
    max_order_notional_usd: int = 0
    """Largest order by value of what it is on, at the index; 0: no limit. Likewise the next two."""
    max_order_delta_e8: int = 0
    """In coins, 1e-8."""
    max_order_vega_usd: int = 0
    """In USD per vol point."""
    max_open_orders_per_owner: int = 20_000
    max_combos: int = 1_000
    max_protection_groups: int = 64
    """Market-maker protection groups of an account."""
    max_quotes_per_command: int = 100
    max_isolated_positions: int = 50
    """Buckets of an account."""


class Liquidation(Struct):
    """Parameters of liquidation: warnings, the buffer, auctions, leases and deleveraging."""

    warning_ppm: tuple[int, ...] = (1_250_000, 1_100_000)
    """Level WARNING where equity is below the first share of maintenance margin, and an event at each; descending."""
    buffer_ppm: int = 150_000
    buffer_move_ppm: int = 0  # the buffer also stands a move of this much against the futures that are left
    discount_start_ppm: int = 950_000
    discount_cutoff_ppm: int = 700_000
    fast_ns: int = 60_000_000_000
    slow_ns: int = 300_000_000_000
    insolvent_ns: int = 120_000_000_000
    compensation_cap_ppm: int = 500_000
    """The fund pays a bidder at most the deficit plus this share of maintenance margin."""
    batch_ns: int = 250_000_000
    fee_ppm: int = 20_000
    """Of the price paid, to the fund; disclosed in the event."""
    work_per_tick: int = 64
    max_bids_per_batch: int = 256
    lease_wait_ns: int = 30_000_000_000
    deleverage_shift_ppm: int = 500_000
    """Deleveraging shifts closing prices by at most this share of a position's value at the mark."""
    lease_stress_ppm: int = 0
    """Leases also cover the worst joint scenario of moves up to this; 0: what is lacking at the marks."""
    fund_event_cap_ppm: int = 1_000_000
    """One default draws at most this share of the venue's claim on the fund, as it would be without that draw."""


class Config(Struct, kw_only=True):
    """Everything the engine is told at genesis."""

    venue_id: str = "margrave"
    currencies: tuple[Currency, ...]
    underlyings: tuple[Underlying, ...]
    instruments: tuple[Instrument, ...] = ()
    limits: Limits = Limits()
    liquidation: Liquidation = Liquidation()
    checkpoint_every: int = 65_536
    """Commands between two checkpoints."""
    span_credits: SpanCredits | msgspec.UnsetType = msgspec.UNSET
    """Between underlyings that are margined by `span16`."""
    governance: Governance | msgspec.UnsetType = msgspec.UNSET
    """Unset: its defaults."""


class CreateAccount(Struct):
    """Payload of CREATE_ACCOUNT; `account_id` 0: the engine gives the next one."""

    name: str
    owner_id: OwnerId = 0
    margin_model: MarginModel = "segregated_pm"


class Transfer(Struct):
    """Payload of DEPOSIT, WITHDRAW (account in the header), ENDOW_FUND, SWEEP_DUST, ENDOW_CAPITAL, RELEASE_CAPITAL."""

    currency: str
    amount_minor: int = 0
    reference: Reference = 0


class InstrumentState(Struct):
    """Payload of SET_INSTRUMENT_STATE."""

    name: str
    state: Literal["open", "halted", "close_only", "auction"]
    until_ns: int = 0
    """Auction: uncross and open at the first Tick at or after this time; 0: when told to."""


class ListInstruments(Struct):
    """Payload of LIST_INSTRUMENTS."""

    instruments: tuple[Instrument, ...]


class SelfTrade(Struct):
    """Payload of SET_SELF_TRADE (account in the header)."""

    mode: Literal["cancel_maker", "reject_taker"] = "cancel_maker"
    extended_to_subaccounts: bool = True
    """Whether the owner's other accounts count as the same trader."""


class ChangeMarginModel(Struct):
    """Payload of CHANGE_MARGIN_MODEL (account in the header)."""

    margin_model: MarginModel


class SetMarginMode(Struct):
    """Payload of SET_MARGIN_MODE (account in the header): how a future or perpetual is margined, with the account or
    in a bucket of its own at a leverage (isolated; in 1e-2)."""

    instrument: str
    mode: Literal["cross", "isolated"]
    leverage_e2: int = 0


class MoveCollateral(Struct):
    """Payload of MOVE_COLLATERAL (account in the header): into an isolated position's bucket, negative: out of it."""

    instrument: str
    amount_minor: int


def encode(value: Struct) -> bytes:
    """Canonical msgpack bytes of a configuration value."""
    return msgspec.msgpack.encode(value)


def decode_config(data: bytes) -> Config:
    """Config from its msgpack bytes; msgspec.ValidationError names the field that is wrong."""
    return msgspec.msgpack.decode(data, type=Config, strict=False)
