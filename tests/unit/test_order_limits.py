"""Bands by vol, the largest order by notional, delta and vega, and limits over an owner's accounts."""

import msgspec
import pytest

import margin_ext
from exchange import commands, config, config_checks
from exchange.commands import CommandKind
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.driver import DAY, START_NS, Driver, future, kinds, linear_perpetual, make_config, only, option, perpetual

E8 = 10**8
EXPIRY_NS = START_NS + 30 * DAY
YEARS = 30 / 365
CALL = option(110_000, "call", EXPIRY_NS)
SHORT = option(100_000, "put", START_NS + 3_600 * 10**9)
NAME = "BTC-PERPETUAL"


def venue_of(*instruments, **limits):
    made = Driver(instruments, make_config(limits=config.Limits(**limits)))
    made.alice, made.bob = (made.account(name, btc=500, usdc=50_000_000) for name in ("alice", "bob"))
    made.marks(100_000)
    return made


def answer(found):
    refused = [event for event in found if event.kind == EventKind.ORDER_REJECTED]
    return Reason(refused[0].reason) if refused else None


def value(spec, vol):
    """Price in units at a vol, forward 100,000."""
    call = spec.option_type == "call"
    years = (spec.expiry_ns - START_NS) / (365 * DAY)
    price = margin_ext.price([100_000.0], [spec.strike_e8 / E8], [vol], [years], call)
    return float(price[0]) / 100_000 * E8 / spec.price_unit_e8


@pytest.mark.parametrize(("share", "ticks"), [(100_000, 10), (1_000_000, 10), (2_000_000, 3)])
def test_edges_are_the_prices_at_the_vols_but_some_ticks_from_the_mark(share, ticks):
    venue = venue_of(CALL, SHORT, option_band_vol_ppm=share, option_band_ticks=ticks)
    for spec in (CALL, SHORT):
        view = venue.engine.market(venue.slot(spec.name))
        mark = view.mark_price_e8 / spec.price_unit_e8
        top = max(value(spec, 0.6 * (1 + share / 1e6)), mark + ticks)
        bottom = min(value(spec, 0.6 * max(0, 1 - share / 1e6)), mark - ticks)
        wide = (view.mark_price_e8 * 0.2 + 0.05 * E8) / spec.price_unit_e8
        assert view.max_price_units == int(min(top, mark + wide))
        assert view.min_price_units == max(1, -int(-max(bottom, mark - wide) // 1))
        for side, edge, step, reason in (
            ("buy", view.max_price_units, 1, Reason.PRICE_TOO_HIGH),
            ("sell", view.min_price_units, -1, Reason.PRICE_TOO_LOW),
        ):
            assert answer(venue.place(venue.alice, spec.name, side, edge + step, 1)) == reason
            assert answer(venue.place(venue.alice, spec.name, side, edge, 1)) is None


def test_bands_move_with_the_marks_and_not_before():
    venue = venue_of(CALL, option_band_vol_ppm=200_000)
    edges = [venue.engine.market(0).max_price_units]
    for index, vol in ((101_000, 0.6), (101_000, 0.7), (90_000, 0.6), (100_000, 0.6)):
        venue.marks(index, vol=vol)
        edges.append(venue.engine.market(0).max_price_units)
    assert edges[0] == edges[4] < edges[1] < edges[2]
    assert edges[3] < edges[0]


def test_a_recycled_slot_has_bands_of_its_own():
    venue = venue_of(SHORT, option_band_vol_ppm=200_000)
    before = venue.engine.market(0).max_price_units
    venue.now = SHORT.expiry_ns
    venue.marks(100_000)
    venue.tick()
    venue.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments((CALL,)))
    assert venue.slot(CALL.name) == 0
    assert answer(venue.place(venue.alice, CALL.name, "buy", before, 1)) == Reason.NO_MARK
    venue.marks(100_000)
    assert venue.engine.market(0).max_price_units > before


@pytest.mark.parametrize(
    ("spec", "lots"),
    [(perpetual(), 10_000), (linear_perpetual(), 1_000), (CALL, 10), (future(EXPIRY_NS), 10_000)],
)
def test_notional_is_at_the_index_or_an_inverse_futures_own(spec, lots):
    """100,000 USD: 10,000 lots of 10 USD, 1,000 of 0.001 BTC, 10 of 0.1 BTC."""
    venue = venue_of(spec, max_order_notional_usd=100_000)
    price = max(1, venue.engine.market(0).mark_price_e8 // spec.price_unit_e8)
    assert answer(venue.place(venue.alice, spec.name, "buy", price, lots + 1)) == Reason.ORDER_NOTIONAL_LIMIT
    placed = only(venue.place(venue.alice, spec.name, "buy", price, lots), EventKind.ORDER_ACCEPTED)
    larger = commands.record(
        CommandKind.EDIT_ORDER, venue.alice, order_id=placed.order_id, price_units=price, quantity_lots=lots + 1
    )
    assert answer(venue.submit(larger)) == Reason.ORDER_NOTIONAL_LIMIT
    venue.marks(99_000)
    more = 0 if spec.inverse and spec.kind != "option" else lots // 99
    assert answer(venue.place(venue.bob, spec.name, "buy", price, lots + more)) is None
    assert answer(venue.place(venue.bob, spec.name, "buy", price, lots + more + 1)) == Reason.ORDER_NOTIONAL_LIMIT
    venue.sound()


def test_delta_and_vega_of_the_whole_order():
    greeks = margin_ext.greeks([100_000.0], [110_000.0], [0.6], [YEARS], True)
    by_delta = int(3 / (float(greeks.delta[0]) * 0.1))
    by_vega = int(150 / (float(greeks.vega[0]) * 0.1 * 0.01))
    assert 0 < by_vega < by_delta
    venue = venue_of(CALL, perpetual(), max_order_delta_e8=3 * E8)
    price = venue.engine.market(0).mark_price_e8 // CALL.price_unit_e8
    assert answer(venue.place(venue.alice, CALL.name, "sell", price + 1, by_delta + 1)) == Reason.ORDER_DELTA_LIMIT
    assert answer(venue.place(venue.alice, CALL.name, "sell", price + 1, by_delta)) is None
    assert answer(venue.place(venue.alice, NAME, "sell", 200_000, 30_001)) == Reason.ORDER_DELTA_LIMIT
    assert answer(venue.place(venue.alice, NAME, "sell", 200_000, 30_000)) is None
    venue = venue_of(CALL, perpetual(), max_order_vega_usd=150)
    assert answer(venue.place(venue.alice, CALL.name, "buy", price, by_vega + 1)) == Reason.ORDER_VEGA_LIMIT
    assert answer(venue.place(venue.alice, CALL.name, "buy", price, by_vega)) is None
    assert answer(venue.place(venue.alice, NAME, "sell", 200_000, 300_000)) is None


def test_what_takes_off_a_position_passes():
    venue = venue_of(perpetual(), max_order_notional_usd=100_000, max_open_orders_per_owner=2)
    for _ in range(2):
        venue.trade(venue.bob, venue.alice, NAME, "buy", 200_000, 10_000)
    venue.place(venue.alice, NAME, "buy", 190_000, 1)
    venue.place(venue.alice, NAME, "buy", 190_000, 1)
    assert answer(venue.place(venue.alice, NAME, "buy", 190_000, 1)) == Reason.OWNER_ORDER_LIMIT
    assert answer(venue.place(venue.alice, NAME, "sell", 210_000, 20_001)) == Reason.ORDER_NOTIONAL_LIMIT
    assert answer(venue.place(venue.alice, NAME, "sell", 210_000, 15_000)) is None
    assert answer(venue.place(venue.alice, NAME, "sell", 210_000, 5_001)) == Reason.OWNER_ORDER_LIMIT
    assert answer(venue.place(venue.alice, NAME, "sell", 210_000, 5_000)) is None
    venue.sound()


def test_an_owners_orders_and_positions_count_over_its_accounts():
    spec = perpetual(max_owner_position_lots=100)
    venue = venue_of(spec, max_open_orders_per_owner=4)
    second, third = (venue.account(name, btc=50, owner=venue.alice) for name in ("second", "third"))
    venue.trade(venue.bob, second, NAME, "buy", 200_000, 60)
    assert answer(venue.place(third, NAME, "buy", 199_000, 41)) == Reason.OWNER_POSITION_LIMIT
    assert answer(venue.place(third, NAME, "buy", 199_000, 30)) is None
    assert answer(venue.place(venue.alice, NAME, "buy", 199_000, 11)) == Reason.OWNER_POSITION_LIMIT
    placed = only(venue.place(venue.alice, NAME, "buy", 199_000, 10), EventKind.ORDER_ACCEPTED)
    fields = {"order_id": placed.order_id, "price_units": 199_000}
    larger = commands.record(CommandKind.EDIT_ORDER, venue.alice, quantity_lots=11, **fields)
    assert answer(venue.submit(larger)) == Reason.OWNER_POSITION_LIMIT
    assert answer(venue.place(third, NAME, "sell", 201_000, 161)) == Reason.OWNER_POSITION_LIMIT
    assert answer(venue.place(third, NAME, "sell", 201_000, 160)) is None
    assert answer(venue.place(second, NAME, "sell", 202_000, 60)) is None
    assert answer(venue.place(venue.alice, NAME, "sell", 203_000, 1)) == Reason.OWNER_ORDER_LIMIT
    assert answer(venue.place(venue.bob, NAME, "buy", 190_000, 160)) is None
    assert answer(venue.place(venue.bob, NAME, "buy", 190_000, 1)) == Reason.OWNER_POSITION_LIMIT
    venue.sound()


def test_a_combo_counts_by_its_net_risk_and_its_largest_leg():
    near, far = future(EXPIRY_NS), future(EXPIRY_NS + 30 * DAY)
    venue = venue_of(perpetual(), near, far, max_order_notional_usd=100_000, max_order_delta_e8=E8 // 2)
    combo = config.Instrument(
        name="BTC-FS", kind="future_combo", underlying="BTC", settlement="BTC", inverse=True,
        price_unit_e8=near.price_unit_e8, lot_size_e8=near.lot_size_e8, zero_units=500_000, max_price_units=1_000_000,
        expiry_ns=near.expiry_ns, legs=(config.Leg(near.name, 1), config.Leg(far.name, -1)),
    )  # fmt: skip
    listed = venue.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments((combo,)))
    assert EventKind.INSTRUMENT_LISTED in kinds(listed)
    assert answer(venue.place(venue.alice, near.name, "buy", 200_000, 6_000)) == Reason.ORDER_DELTA_LIMIT
    assert answer(venue.place(venue.alice, combo.name, "buy", 500_000, 10_001)) == Reason.ORDER_NOTIONAL_LIMIT
    assert answer(venue.place(venue.alice, combo.name, "buy", 500_000, 10_000)) is None
    venue.sound()


@pytest.mark.parametrize(
    "wrong",
    [
        {"option_band_vol_ppm": -1}, {"option_band_vol_ppm": 10_000_001}, {"option_band_ticks": -1},
        {"price_band_ppm": 0}, {"option_band_coin_ppm": 1_000_001}, {"max_order_notional_usd": -1},
        {"max_order_delta_e8": 10**17}, {"max_order_vega_usd": 10**11}, {"max_open_orders_per_owner": 0},
        {"max_open_orders_per_account": 1 << 32},
    ],
)  # fmt: skip
def test_limits_that_mean_nothing_are_no_configuration(wrong):
    assert config_checks.faults(make_config()) == []
    (fault,) = config_checks.faults(make_config(limits=config.Limits(**wrong)))
    assert fault.startswith("limits: ")


def test_an_owner_limit_of_less_than_nothing_cannot_be_listed():
    venue = venue_of(perpetual())
    bad = msgspec.structs.replace(CALL, max_owner_position_lots=-1)
    rejected = venue.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments((bad,)))
    assert only(rejected, EventKind.COMMAND_REJECTED).reason == Reason.BAD_CONFIGURATION
