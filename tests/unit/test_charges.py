"""Charges beside the grid: figures worked out by hand, what is refused, and that no field is passed over."""

import math
from operator import sub
from typing import Any

import msgspec
import pytest

from exchange import events
from exchange.config import MatrixParameters, Underlying, decode_config, encode
from exchange.config_checks import faults
from exchange.engine import Engine
from exchange.events import EventKind
from exchange.parameters import Concentration, ExpiryBasis, GridColumn, Peg, RateTier, Skew
from margin_ext import price
from tests.oracles import world
from tests.oracles.bench import BUY, SELL, Bench, only
from tests.oracles.history import History

PERPETUAL, LONG_FUTURE, CALL, PUT, USDC_PERPETUAL, USDC_PUT, USDC_CALL = 0, 1, 4, 5, 6, 7, 8
PLAIN = MatrixParameters(extended_dampener_usd=0, delta_threshold_usd=10**9)
FORWARDS = {world.LONG_EXPIRY_NS: 100_000.0, world.SHORT_EXPIRY_NS: 100_000.0}
TIERS = Peg(tiers=(RateTier(above_usd=0, rate_ppm=1_000), RateTier(above_usd=30_000, rate_ppm=20_000)))
CHARGE = {
    "future_initial_ppm": 20_000,
    "future_maintenance_ppm": 10_000,
    "short_option_initial_ppm": 30_000,
    "short_option_maintenance_ppm": 5_000,
    "settlement_basis_ppm": 4_000,
    "peg": TIERS,
    "skew": Skew(cap_base_ppm=900_000),
    "expiry_basis": ExpiryBasis(move_ppm=200_000),
    "horizon_days": 2,
}
CONCENTRATION = {"concentration": Concentration(depth_cap_ppm=150_000)}


def venue(model: str, **fields: Any) -> Bench:
    """Account 1 of the model and a rich one, at 100,000 with vols of 60 %; no haircuts."""
    matrix = msgspec.structs.replace(PLAIN, **fields)
    plain = world.configuration(underlyings=(Underlying(name="BTC", index_name="btc_usd", matrix=matrix),))
    plain = msgspec.structs.replace(
        plain, instruments=plain.instruments[:9],
        currencies=tuple(msgspec.structs.replace(c, haircut_ppm=0, debt_ppm=10**6) for c in plain.currencies[:2]),
    )  # fmt: skip
    bench = Bench(plain)
    coins = world.COIN // 100 if model == "cross_pm" else 100 * world.COIN  # there, coins would be a risk of their own
    bench.account("held", model, BTC=coins, USDC=10**7 * world.DOLLAR)
    bench.account("rich", "segregated_pm", BTC=10_000 * world.COIN, USDC=10**9 * world.DOLLAR)
    bench.marks(100_000.0, FORWARDS, {2: 0.6, 4: 0.6, 7: 0.6})
    return bench


def take(bench: Bench, slot: int, lots: int) -> None:
    """Give account 1 a position at about the mark."""
    side = BUY if lots > 0 else SELL
    unit = bench.engine.instrument(slot).price_unit_e8
    price = max(1, round(bench.engine.market(slot).mark_price_e8 / unit / 5)) * 5
    bench.place(2, slot, 1 - side, price, abs(lots))
    assert only(bench.place(1, slot, side, price, abs(lots)), EventKind.TRADE_EXECUTED)


def added(model: str, positions: dict[int, int], entity: int, **fields: Any) -> tuple[int, int]:
    """What fields add to (initial, maintenance) of the positions."""
    found = []
    for chosen in ({}, fields):
        bench = venue(model, **chosen)
        for slot, lots in positions.items():
            take(bench, slot, lots)
        found.append(bench.margins(1, entity)[1:])
    (a, b), (c, d) = found
    return c - a, d - b


def test_futures_pay_of_their_gross_size() -> None:
    # 5,000 x 10 USD and 3,000 x 10 USD at 100,000: 0.8 BTC, whichever way
    positions = {PERPETUAL: 5_000, LONG_FUTURE: -3_000}
    charge = {"future_initial_ppm": 20_000, "future_maintenance_ppm": 10_000}
    assert added("segregated_pm", positions, 0, **charge) == (world.COIN * 16 // 1_000, world.COIN * 8 // 1_000)
    assert added("cross_pm", positions, 0, **charge) == (1_600 * 10**4, 800 * 10**4)
    # 700 lots of 0.001 BTC in USDC: 70,000 USD
    linear = added("segregated_pm", {USDC_PERPETUAL: 700}, 1, **charge)
    assert linear == (1_400 * world.DOLLAR, 700 * world.DOLLAR)


def test_options_pay_where_a_strike_is_short_of_itself() -> None:
    charge = {"short_option_initial_ppm": 30_000, "short_option_maintenance_ppm": 5_000}
    # a put bought at the strike where calls are sold leaves 8 of 20 lots of 0.1 BTC
    assert added("segregated_pm", {CALL: -20, PUT: 12}, 0, **charge) == (
        world.COIN * 24 // 1_000,
        world.COIN * 4 // 1_000,
    )
    # another strike, and another settlement's, does not net; in a cross account the same strike would
    both = added("cross_pm", {CALL: -20, USDC_CALL: 200}, 0, **charge)
    assert both == (6_000 * 10**4, 1_000 * 10**4)
    assert added("segregated_pm", {CALL: 20, PUT: 12}, 0, **charge) == (0, 0)


def test_a_calendar_spread_pays_where_the_forwards_part() -> None:
    # 1 BTC long to the far expiry against 1 BTC of the perpetual: nothing in any column of the grid
    positions, far = {LONG_FUTURE: 10_000, PERPETUAL: -10_000}, ExpiryBasis(move_ppm=100_000, add_ppm=500_000)
    bench, plain = venue("segregated_pm", expiry_basis=far), venue("segregated_pm")
    for one in (bench, plain):
        for slot, lots in positions.items():
            take(one, slot, lots)
    days = (world.LONG_EXPIRY_NS - world.START_NS) / world.DAY_NS
    # the forward falls by 10 %: 1/0.9 - 1 coins, times 0.5 + 2 T
    loss = (1 / 0.9 - 1) * (0.5 + 2 * days / 365) * world.COIN
    assert bench.margins(1)[1] - plain.margins(1)[1] == pytest.approx(loss, abs=10_000 * 0.5)


def test_a_smile_is_tilted_and_bent() -> None:
    """Rows against prices of the library at vols by the formula."""
    skew = Skew(cap_base_ppm=300_000, cap_slope_ppm=-100_000, width_ppm=1_000_000, minimum_log_moneyness_ppm=20_000)
    bench = venue("segregated_pm", skew=skew)
    years = (world.LONG_EXPIRY_NS - world.START_NS) / world.DAY_NS / 365
    cap = 0.3 - 0.1 * years**0.5
    k = math.log(110_000 / 100_000)
    tilt = min(k * cap / (years**0.5 * 0.6), cap)
    for slot, call in ((CALL, True), (PUT, False)):
        values = [price(100_000, 110_000, 0.6 * (1 + t), years, call) / 100_000 for t in (0, tilt, abs(tilt))]
        wanted = [round((v - values[0]) * 0.1 * 1e10) for v in values[1:]]
        assert bench.engine.rows.shifts(slot, False)[:2] == pytest.approx(wanted, abs=1)
    k = math.log(90_000 / 100_000)
    tilt = max(k * cap / (years**0.5 * 0.6), -cap)
    values = [price(100_000, 90_000, 0.6 * (1 + t), years, False) for t in (0, tilt, -tilt)]
    wanted = [round((v - values[0]) * 0.01 * 1e4) for v in values[1:]]
    assert bench.engine.rows.shifts(USDC_PUT, True)[:2] == pytest.approx(wanted, abs=1)
    assert wanted[0] < 0 < wanted[1]


@pytest.mark.parametrize("model", ["segregated_pm", "cross_pm"])
def test_what_expires_soon_hedges_nothing_beyond_the_horizon(model: str) -> None:
    """A short perpetual under calls of three hours needs what it needs alone; without a horizon they cover it."""
    alone, hedged, plain = venue(model, horizon_days=2), venue(model, horizon_days=2), venue(model)
    for bench in (alone, hedged, plain):
        take(bench, PERPETUAL, -5_000)
    for bench in (hedged, plain):
        take(bench, 2, 5)
    assert plain.margins(1)[1] < alone.margins(1)[1] * 0.8
    # the calls' premium moves the cross account's collateral a little
    assert hedged.margins(1)[1] == pytest.approx(alone.margins(1)[1], rel=0 if model == "segregated_pm" else 1e-3)
    before = hedged.margins(1)[1]
    hedged.place(1, 2, BUY, 400, 3)
    assert hedged.margins(1)[1] >= before


def test_an_option_pays_for_its_smile() -> None:
    """Long or short, where a tilt costs more than the grid."""
    skew = Skew(cap_base_ppm=600_000, cap_slope_ppm=0, width_ppm=500_000)
    found = []
    for fields in ({}, {"skew": skew}):
        bench = venue("segregated_pm", price_range_ppm=1_000, vol_up_ppm=1, vol_down_ppm=1, extended_moves_ppm=(),
                      **fields)  # fmt: skip
        take(bench, CALL, 30)
        found.append((bench.margins(1)[1], bench.engine.rows.shifts(CALL, False)))
    (plain, _), (charged, row) = found
    # in place of the grid's small loss; roll and rounding units stay
    assert 30 * abs(row[0]) < charged < 30 * abs(row[0]) + plain


def test_open_orders_count_at_their_worst() -> None:
    bench, plain = (venue("segregated_pm", **fields) for fields in (CHARGE, {}))
    for one in (bench, plain):
        take(one, PERPETUAL, 1_000)
        one.place(1, PERPETUAL, SELL, 210_000, 4_000)  # 1,000 long or 3,000 short: 0.3 BTC
        one.place(1, CALL, SELL, 500, 10)
        one.place(1, CALL, BUY, 10, 90)  # may not fill
    extra = [a - b for a, b in zip(bench.margins(1)[1:], plain.margins(1)[1:], strict=True)]
    assert extra == [world.COIN * 3 // 10 * 2 // 100 + world.COIN * 3 // 100, world.COIN // 1_000]


def test_hedges_between_settlements_pay_for_basis_and_peg() -> None:
    # 0.5 BTC long in coins, 0.7 short in dollars: 50,000 USD hedged; 30 + 400 USD by the tiers
    positions = {PERPETUAL: 5_000, USDC_PERPETUAL: -700}
    assert added("cross_pm", positions, 0, settlement_basis_ppm=4_000) == (200 * 10**4, 200 * 10**4)
    assert added("cross_pm", positions, 0, peg=TIERS) == (430 * 10**4, 430 * 10**4)
    assert added("cross_pm", {PERPETUAL: 5_000, USDC_PERPETUAL: 700}, 0, peg=TIERS) == (0, 0)
    assert added("segregated_pm", positions, 0, peg=TIERS, settlement_basis_ppm=4_000) == (0, 0)


@pytest.mark.parametrize("model", ["segregated_pm", "cross_pm"])
def test_supposed_lots_pay_as_held_ones(model: str) -> None:
    lots = {PERPETUAL: 2_000, CALL: -15, USDC_PERPETUAL: -300}
    found = []
    for charges in (CHARGE | CONCENTRATION, {}):
        bench = venue(model, **charges)
        take(bench, PERPETUAL, 1_000)
        supposed = bench.engine.what_if.with_positions(1, lots)
        for slot, more in lots.items():
            take(bench, slot, more)
        found.append(([m[1:] for m in supposed], [bench.margins(1, entity)[1:] for entity in range(len(supposed))]))
    (with_charges, held), (without, plain) = found
    paid = [tuple(map(sub, a, b)) for a, b in zip(with_charges, without, strict=True)]
    assert paid == [tuple(map(sub, a, b)) for a, b in zip(held, plain, strict=True)]
    assert paid[0] > (0, 0)


def test_explained_charges_carry_their_names() -> None:
    positions = {PERPETUAL: 5_000, USDC_PERPETUAL: -700, CALL: -10}
    for model in ("segregated_pm", "cross_pm"):
        bench = venue(model, **CHARGE)
        for slot, lots in positions.items():
            take(bench, slot, lots)
        table = bench.engine.what_if.explain(1)
        (one,) = table["charges"] if model == "cross_pm" else [b for b in table["books"] if b["currency"] == "BTC"]
        charges = {name: tuple(amounts.values()) for name, amounts in one["charges"].items()}
        assert set(one["rivals"]) == {"skew_tilted", "skew_bent", "expiry_basis"}
        assert one["rivals"]["expiry_basis"]["positions"] > 0 and one["horizon_days"] == 2
        if model == "cross_pm":
            # 120,000 USD of futures; a coin of options sold; what the deltas hedge of each other
            assert charges["futures"] == (2_400 * 10**4, 1_200 * 10**4)
            assert charges["short_options"] == (3_000 * 10**4, 500 * 10**4)
            assert charges["settlement_basis"][0] == charges["settlement_basis"][1] > 0 < charges["peg"][0]
        else:
            assert charges["futures"] == (world.COIN // 100, world.COIN // 200)
            assert charges["short_options"] == (world.COIN * 3 // 100, world.COIN // 200)
            assert charges["settlement_basis"] == charges["peg"] == (0, 0)


# ------------------------------------------------------------------------------------------------ every field counts

CHANGED: dict[str, Any] = {
    "price_range_ppm": 170_000, "price_steps_per_side": 3, "vol_up_ppm": 600_000, "vol_down_ppm": 500_000,
    "vol_up_floor_e6": 2_000_000, "vega_power_short_ppm": 500_000, "vega_power_long_ppm": 400_000,
    "vega_power_boundary_days": 50, "vol_multiplier_floor_ppm": 900_000, "extended_moves_ppm": (-990_000,) * 8,
    "extended_factor_ppm": 5_000_000, "extended_dampener_usd": 10**9, "annualised_move_risk_ppm": 500_000,
    "minimum_move_ppm": 30_000, "delta_threshold_usd": 0, "delta_move_per_coin_e9": 10**6, "delta_move_max_ppm": 1,
    "initial_factor_ppm": 1_200_000, "maintenance_factor_ppm": 700_000,
    "columns": (GridColumn(move_ppm=-300_000, vol="up"),),
} | CHARGE | CONCENTRATION  # fmt: skip
WITH = {
    "skew": {"price_range_ppm": 1_000, "extended_factor_ppm": 1, "vol_up_ppm": 1, "vol_down_ppm": 1},
    "columns": {"extended_moves_ppm": ()},
    "vol_up_ppm": {"extended_factor_ppm": 1},
    "delta_move_per_coin_e9": {"delta_threshold_usd": 0},
    "delta_move_max_ppm": {"delta_threshold_usd": 0, "delta_move_per_coin_e9": 10**6},
    "vol_multiplier_floor_ppm": {"vol_down_ppm": 900_000},
    "extended_dampener_usd": {"extended_factor_ppm": 5_000_000},
    "future_maintenance_ppm": {"future_initial_ppm": 20_000},
    "short_option_maintenance_ppm": {"short_option_initial_ppm": 30_000},
}
BOOKS = (
    {PERPETUAL: 4_000, CALL: -12, PUT: 10, LONG_FUTURE: -1_000, USDC_PERPETUAL: -700, USDC_PUT: 40},
    {CALL: -30}, {CALL: 30}, {PUT: 30, CALL: 30}, {2: -30, 3: -30}, {2: 30, 3: 30},
    {PERPETUAL: 5_000}, {LONG_FUTURE: 900},
    {PERPETUAL: 5_000, USDC_PERPETUAL: -700}, {PERPETUAL: -5_000, 2: 5}, {CALL: 30, PERPETUAL: -12_000},
)  # fmt: skip


def requirements(**fields: Any) -> list[tuple[int, ...]]:
    found = []
    for book in BOOKS:
        bench = venue("cross_pm", **fields)
        for slot, lots in book.items():
            take(bench, slot, lots)
        found.append(bench.margins(1))
    return found


def test_no_field_of_a_set_is_passed_over() -> None:
    """Each changes the requirement of some account; a field that is added without effect fails here."""
    names = set(MatrixParameters.__struct_fields__) - {"name", "version"}
    assert names == set(CHANGED)
    idle = [
        name for name in sorted(names)
        if requirements(**WITH.get(name, {})) == requirements(**WITH.get(name, {}) | {name: CHANGED[name]})
    ]  # fmt: skip
    assert idle == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"future_initial_ppm": 5, "future_maintenance_ppm": 6}, "future contingencies"),
        ({"short_option_initial_ppm": 1_000_001}, "short_option contingencies"),
        ({"short_option_initial_ppm": -1, "short_option_maintenance_ppm": -1}, "short_option contingencies"),
        ({"settlement_basis_ppm": -1}, "settlement_basis_ppm must be"),
        ({"skew": Skew(cap_base_ppm=1_000_001)}, "skew: cap_base_ppm"),
        ({"skew": Skew(cap_slope_ppm=1)}, "skew: cap_base_ppm"),
        ({"skew": Skew(width_ppm=0)}, "skew: width_ppm"),
        ({"skew": Skew(minimum_log_moneyness_ppm=0)}, "skew: width_ppm"),
        ({"skew": Skew(vol_base_ppm=-1)}, "skew: vol_base_ppm"),
        ({"expiry_basis": ExpiryBasis(move_ppm=0)}, "expiry_basis: move_ppm"),
        ({"expiry_basis": ExpiryBasis(add_ppm=-1)}, "expiry_basis: add_ppm"),
        ({"horizon_days": -1}, "horizon_days must be 0 to 365"),
        ({"horizon_days": 366}, "horizon_days must be 0 to 365"),
        ({"peg": Peg(tiers=())}, "peg: 1 to 16 tiers"),
        ({"concentration": Concentration(open_interest_share_ppm=-1)}, "concentration: open_interest_share_ppm"),
        ({"concentration": Concentration(open_interest_rate_ppm=1_000_001)}, "concentration: open_interest_rate_ppm"),
        ({"concentration": Concentration(depth_move_ppm=1_000_000)}, "concentration: depth_move_ppm must be"),
        ({"concentration": Concentration(depth_cap_ppm=-1)}, "concentration: depth_cap_ppm must be"),
        ({"concentration": Concentration(depth_floor_usd=-1)}, "concentration: depth_floor_usd must be"),
        ({"concentration": Concentration(open_interest_floor_usd=10**13)}, "concentration: open_interest_floor_usd"),
        ({"peg": Peg(tiers=(RateTier(above_usd=1, rate_ppm=1),))}, "peg: 1 to 16 tiers"),
        ({"peg": Peg(tiers=(RateTier(above_usd=0, rate_ppm=1),) * 2)}, "peg: 1 to 16 tiers"),
        ({"peg": Peg(tiers=(RateTier(above_usd=0, rate_ppm=-1),))}, "peg: tiers must start"),
    ],
)
def test_wrong_parts_are_refused(fields: dict[str, Any], said: str) -> None:
    plain = world.configuration()
    wrong = msgspec.structs.replace(plain.underlyings[0], matrix=msgspec.structs.replace(PLAIN, **fields))
    (fault,) = faults(msgspec.structs.replace(plain, underlyings=(wrong, plain.underlyings[1])))
    assert fault.startswith("underlying BTC: ") and said in fault


@pytest.mark.parametrize("name", ["static_discount", "aggregation", "pnl_offset_ppm", "future_clamp", "anything"])
def test_fields_that_the_engine_does_not_know_are_refused(name: str) -> None:
    document = msgspec.msgpack.decode(encode(world.configuration()))
    assert decode_config(msgspec.msgpack.encode(document)) == world.configuration()
    document["underlyings"][0]["matrix"][name] = 1
    with pytest.raises(msgspec.ValidationError, match=name):
        decode_config(msgspec.msgpack.encode(document))


def test_safe_bands_leave_accounts_with_scenarios_beside_the_grid_alone() -> None:
    """None of the portfolio models with anything in such an underlying is certified, and the events are the same."""
    history = History(11, ticks=True, configuration=world.charged(world.configuration()))
    plain, bands = Engine(), Engine()
    plain.band_accounts, bands.band_accounts = 1 << 62, 0
    for _ in range(1_500):
        record = history.next()
        plain.apply(record)
        bands.apply(record)
        happened = plain.take_events()
        assert bytes(bands.take_events()) == bytes(happened)
        history.saw(events.records(happened))
    for account in plain.account_ids():
        if plain.positions(account) and plain.account(account).margin_model.endswith("_pm"):
            assert bands.monitor.bands.band(account, 0) is None
