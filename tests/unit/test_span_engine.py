"""`span16` in the engine: figures written out by hand, and what a configuration is refused for."""

from typing import Any

import msgspec
import pytest

import margin_ext
from exchange import commands
from exchange import parameters_span as terms
from exchange.commands import CommandKind
from exchange.config import ChangeMarginModel, Config, Currency, Instrument, Limits, Underlying
from exchange.config_checks import faults
from exchange.reasons import Reason
from tests.oracles import world
from tests.oracles.bench import BUY, SELL, Bench, reasons

NEAR_NS, FAR_NS = world.START_NS + 20 * world.DAY_NS, world.START_NS + 120 * world.DAY_NS
TIERS = (
    terms.SpanTier(name="near", from_days=0, to_days=60),
    terms.SpanTier(name="far", from_days=60, to_days=3_650),
)
PLAIN = terms.SpanParameters(price_scan_range_ppm=150_000, initial_factor_ppm=1_000_000)


def linear(name: str, underlying: str = "BTC", **more: Any) -> Instrument:
    """A contract of 0.01 coin that settles in USDC."""
    parts = {
        "name": name, "kind": "future", "underlying": underlying, "settlement": "USDC", "inverse": False,
        "price_unit_e8": 10**8, "lot_size_e8": 10**6,
    }  # fmt: skip
    return Instrument(**(parts | more))


OPTION = {"kind": "option", "expiry_ns": NEAR_NS, "strike_e8": 120_000 * 10**8, "max_price_units": 200_000}
INSTRUMENTS = (
    linear("BTC_USDC-PERPETUAL", kind="perpetual"),
    linear("BTC_USDC-NEAR", expiry_ns=NEAR_NS),
    linear("BTC_USDC-FAR", expiry_ns=FAR_NS),
    linear("BTC_USDC-NEAR-120000-C", option_type="call", **OPTION),
    linear("ETH_USDC-PERPETUAL", "ETH", kind="perpetual"),
)
PERPETUAL, NEAR, FAR, CALL, ETH = range(5)


def configuration(span: terms.SpanParameters = PLAIN, credit: terms.SpanCredits | None = None) -> Config:
    more = {"span_credits": credit} if credit else {}
    return Config(
        currencies=(Currency(name="USDC", exponent=6),),
        underlyings=(
            Underlying(name="BTC", index_name="btc_usd", span=span),
            Underlying(name="ETH", index_name="eth_usd", span=PLAIN),
        ),
        instruments=INSTRUMENTS,
        limits=Limits(max_accounts=8, max_instruments=32),
        **more,
    )


def holding(positions: dict[int, int], model: str = "segregated_pm", **parts: Any) -> Bench:
    """Account 1 with these lots, taken at the mark from account 2, and 10,000,000 USDC."""
    bench = Bench(configuration(**parts))
    for name in ("held", "rich"):
        bench.account(name, model, USDC=10_000_000 * world.DOLLAR)
    bench.marks(100_000.0, {NEAR_NS: 100_000.0, FAR_NS: 100_000.0}, {CALL: 0.6})
    bench.marks(4_000.0, underlying=1)
    for slot, lots in positions.items():
        price = bench.engine.market(slot).mark_price_e8 // 10**8
        bench.place(2, slot, SELL if lots > 0 else BUY, price, abs(lots))
        bench.place(1, slot, BUY if lots > 0 else SELL, price, abs(lots))
    return bench


def usd(bench: Bench, with_orders: bool = True) -> tuple[float, float]:
    """(initial, maintenance) of account 1 without the unit per lot."""
    _, initial, maintenance = bench.margins(1, 0, with_orders)
    unit = 1e4 if bench.engine.exposure.is_cross(1) else 1e6
    return initial / unit, maintenance / unit


@pytest.mark.parametrize("model", ["segregated_pm", "cross_pm"])
def test_a_future_costs_its_scan_range_and_a_hedge_in_another_expiry_the_spread(model: str) -> None:
    spread = terms.CalendarSpread(priority=1, first="near", second="far", rate_ppm=20_000)
    span = terms.SpanParameters(
        price_scan_range_ppm=150_000, initial_factor_ppm=1_200_000, tiers=TIERS, calendar=(spread,)
    )
    # 1 BTC long: 15 % of 100,000
    assert usd(holding({NEAR: 100}, model, span=span)) == pytest.approx((18_000.01, 15_000.01))
    # 0.6 BTC of it stand against 0.6 short in the other tier, at 2 % of 100,000 each
    bench = holding({NEAR: 100, FAR: -60}, model, span=span)
    assert usd(bench)[1] == pytest.approx(0.4 * 15_000 + 0.6 * 2_000 + 0.016)
    # both ways round: perpetuals are in the first tier
    assert usd(holding({PERPETUAL: -60, FAR: 60}, model, span=span))[1] == pytest.approx(0.6 * 2_000 + 0.012)


def test_a_short_option_needs_the_minimum_and_its_value_adds_to_the_requirement_of_cash() -> None:
    span = terms.SpanParameters(
        price_scan_range_ppm=10_000, initial_factor_ppm=1_000_000, short_option_minimum_ppm=50_000
    )
    # far out of the money: one per cent of the index moves it by less than 5 % of the index
    bench = holding({CALL: -100}, span=span)
    assert usd(bench) == pytest.approx((5_000.01, 5_000.01))
    bench = holding({CALL: 40, PERPETUAL: -2}, span=span)
    value = 40 * bench.engine.market(CALL).mark_price_e8 / 1e10
    # no risk is as large as the value of what is long, and that pays for nothing else: the cash must not be negative
    assert usd(bench) == pytest.approx((value, value))


def test_opposite_deltas_of_two_coins_are_credited() -> None:
    credit = terms.SpanCredit(
        priority=1,
        legs=(
            terms.SpreadLeg(underlying="BTC", ratio_ppm=1_000_000, side="long"),
            terms.SpreadLeg(underlying="ETH", ratio_ppm=25_000_000, side="short"),
        ),
        rate_ppm=600_000,
    )
    both = terms.SpanCredits(credits=(credit,))
    # 1 BTC costs 15,000, 50 ETH short as well 30,000; one spread of 1 BTC and 25 ETH: 60 % of each leg's price risk
    alone = usd(holding({PERPETUAL: 100, ETH: -5_000}))[1]
    assert alone == pytest.approx(45_000.51)
    assert usd(holding({PERPETUAL: 100, ETH: -5_000}, credit=both))[1] == pytest.approx(45_000.51 - 18_000, abs=1e-3)
    assert usd(holding({PERPETUAL: -100, ETH: 5_000}, credit=both))[1] == pytest.approx(45_000.51 - 18_000, abs=1e-3)
    assert usd(holding({PERPETUAL: 100, ETH: 5_000}, credit=both))[1] == pytest.approx(45_000.51)


@pytest.mark.parametrize("model", ["segregated_pm", "cross_pm"])
def test_an_order_keeps_the_credit_that_its_fill_would_leave(model: str) -> None:
    legs = (
        terms.SpreadLeg(underlying="BTC", ratio_ppm=1_000_000, side="long"),
        terms.SpreadLeg(underlying="ETH", ratio_ppm=25_000_000, side="short"),
    )
    both = terms.SpanCredits(credits=(terms.SpanCredit(priority=1, legs=legs, rate_ppm=600_000),))
    for side, lots, counted in (
        # 2 BTC for 30,000 find 50 ETH: all is credited; and of the 50 ETH those against the 1 BTC that there surely is
        (BUY, 100, 30_000 * (1 - 0.6) + 30_000 * (1 - 0.6 / 2)),
        # 4 BTC for 60,000: half of them stand against ETH
        (BUY, 300, 60_000 * (1 - 0.6 / 2) + 30_000 * (1 - 0.6 / 2)),
        # the least that is left is 0.5 BTC: a quarter of the ETH; 1 BTC is the most
        (SELL, 50, 15_000 * (1 - 0.6) + 30_000 * (1 - 0.6 / 4)),
        # no position is sure
        (SELL, 100, 15_000 + 30_000),
    ):
        bench = holding({PERPETUAL: 100, ETH: -5_000}, model, credit=both)
        cost = usd(bench)[0]
        assert cost == pytest.approx(27_000.51, abs=1e-3)
        bench.place(1, PERPETUAL, side, 100_000, lots)
        fees = 0.0005 * lots * 1_000
        assert usd(bench)[0] == pytest.approx(counted + 0.51 + lots / 1e4 + fees, abs=2e-3), (side, lots)
        bench.cancel(1, bench.engine.open_orders(1)[0].order_id)
        assert usd(bench)[0] == cost


def test_vols_move_by_points() -> None:
    """A 60 % vol to 90 % and 30 %, a 20 % one to 50 % and to nothing, a day later: options by the pricer."""
    span = msgspec.structs.replace(PLAIN, vol_scan_kind="points", vol_scan_range_ppm=300_000)
    bench = Bench(configuration(span))
    for vol in (0.6, 0.2):
        bench.marks(100_000.0, {NEAR_NS: 101_000.0, FAR_NS: 100_000.0}, {CALL: vol})
        row = bench.engine.rows.row(CALL, True)
        now = margin_ext.price(101_000.0, 120_000.0, vol, 20 / 365)
        for column, thirds in enumerate((0, 1, -1, 2, -2, 3, -3)):
            forward = 101_000.0 * (1 + 0.05 * thirds)
            for place, shocked in ((2 * column, vol + 0.3), (2 * column + 1, max(0.0, vol - 0.3))):
                gain = margin_ext.price(forward, 120_000.0, shocked, 19 / 365) - now
                assert row[place] == pytest.approx(gain * 100, abs=0.51), (vol, place)  # 0.01 coins in 1e-4 USD


def test_delivery_is_charged_on_what_expires_soon() -> None:
    span = terms.SpanParameters(price_scan_range_ppm=150_000, delivery_ppm=3_000, delivery_days=20)
    assert usd(holding({NEAR: 100}, span=span))[1] == pytest.approx(15_300.01, abs=1e-3)
    assert usd(holding({FAR: 100}, span=span))[1] == pytest.approx(15_000.01)
    assert usd(holding({PERPETUAL: 100}, span=span))[1] == pytest.approx(15_000.01)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"price_scan_range_ppm": 0}, "price_scan_range_ppm: must be between"),
        ({"extreme_multiple_ppm": 7_000_000}, "extreme_multiple_ppm: must be at least"),
        ({"delta_weights_ppm": (1, 2)}, "delta_weights_ppm: must be 7 weights"),
        ({"maintenance_factor_ppm": 2_000_000}, "initial_factor_ppm: must be at least"),
        ({"short_option_minimum_ppm": -1}, "short_option_minimum_ppm: must be 0"),
        ({"delivery_days": -1}, "delivery_ppm: must be 0"),
        ({"tiers": (TIERS[0], TIERS[0])}, "tiers: names must differ"),
        ({"tiers": (terms.SpanTier(name="a", from_days=3, to_days=3),)}, "tiers: from_days must be below"),
        (
            {"calendar": (terms.CalendarSpread(priority=1, first="near", second="x", rate_ppm=1),), "tiers": TIERS},
            "calendar[0]: no tier 'x'",
        ),
        (
            {
                "calendar": (
                    terms.CalendarSpread(priority=1, first="near", second="far", rate_ppm=1, first_ratio_ppm=1),
                ),
                "tiers": TIERS,
            },
            "calendar[0]: ratios must be",
        ),
    ],
)
def test_a_set_that_cannot_be_used_is_refused_by_name(changes: dict[str, Any], reason: str) -> None:
    found = faults(configuration(terms.SpanParameters(**changes)))
    assert len([fault for fault in found if fault.startswith(f"underlying BTC: span.{reason}")]) >= 1, found


def test_credits_name_underlyings_that_are_there() -> None:
    leg = terms.SpreadLeg(underlying="SOL", ratio_ppm=1_000_000, side="long")
    credit = terms.SpanCredits(credits=(terms.SpanCredit(priority=1, legs=(leg,), rate_ppm=1),))
    found = faults(configuration(credit=credit))
    assert "span_credits[0].legs: SOL is not margined by span16" in found
    assert faults(configuration()) == []


@pytest.mark.parametrize("model", ["segregated_pm", "cross_pm"])
def test_the_margin_table_adds_up_to_the_requirement(model: str) -> None:
    spread = terms.CalendarSpread(priority=1, first="near", second="far", rate_ppm=20_000)
    span = terms.SpanParameters(
        tiers=TIERS, calendar=(spread,), delivery_ppm=1_000, delivery_days=30, short_option_minimum_ppm=10_000
    )
    leg = terms.SpreadLeg(underlying="BTC", ratio_ppm=1_000_000, side="long")
    other = terms.SpreadLeg(underlying="ETH", ratio_ppm=25_000_000, side="short")
    credit = terms.SpanCredit(priority=1, legs=(leg, other), rate_ppm=500_000)
    positions = {NEAR: 100, FAR: -60, CALL: -30, ETH: -400}
    bench = holding(positions, model, span=span, credit=terms.SpanCredits(name="pair", credits=(credit,)))
    bench.place(1, PERPETUAL, BUY, 99_000, 20)
    table = bench.engine.what_if.explain(1)
    (entity,) = table["entities"]
    unit = 1 if model == "cross_pm" else 100
    sums = [0, 0]
    for part in entity["span16"]:
        for orders, factor in enumerate((part["maintenance_factor_ppm"], part["initial_factor_ppm"])):
            risk = part["scan"][orders] + part["charges"][orders] - part["credit"][orders]
            risk = max(risk, part["short_option_minimum"][orders], 0)
            lots = part["held_lots"] + (part["open_lots"] if orders else 0)
            needed = -(-risk * factor // 10**6) + lots * -(-factor // 10**6)
            sums[orders] += unit * max(needed, part["net_option_value"][orders])
    assert sums[0] == entity["maintenance"]
    costs = sum(book["order_cost_minor"] for book in table["books"]) // (100 // unit)
    assert abs(entity["initial"] - sums[1] - costs) <= 1
    btc, eth = entity["span16"]
    assert btc["calendar_e10"][0] > 0 < btc["delivery_e10"][0] and btc["credit"][0] > 0 < eth["credit"][0]
    # BTC has an open order to buy, which takes nothing from what stands against ETH
    assert btc["credit"][1] > 0 and eth["credit"][0] * 0.999 < eth["credit"][1] <= eth["credit"][0]
    assert (btc["credits"]["name"], len(btc["parameters"]["sha256"])) == ("pair", 64)
    (book,) = [book for book in table["books"] if book["underlying"] == "BTC"]
    assert [row["name"] for row in book["scenarios"]][:3] == [
        "+0/3 range, vol up",
        "+0/3 range, vol down",
        "+1/3 range, vol up",
    ]
    assert (book["grid"], len(book["scenarios"])) == ("span16", 16)
    # scan risk is found again from the table
    assert max(0, *(-row["positions"] for row in book["scenarios"])) == btc["scan"][0]


def test_a_change_of_model_that_would_breach_is_refused_and_shown_before() -> None:
    bench = Bench(configuration())
    bench.account("held", "segregated_sm", USDC=6_000 * world.DOLLAR)
    bench.account("rich", USDC=10_000_000 * world.DOLLAR)
    bench.marks(100_000.0, {NEAR_NS: 100_000.0, FAR_NS: 100_000.0}, {CALL: 0.6})
    bench.place(2, PERPETUAL, SELL, 100_000, 100)
    bench.place(1, PERPETUAL, BUY, 100_000, 100)
    # the formulas want a little more than 2 % of 100,000, span16 15 %
    assert 2_000 < usd(bench)[0] < 2_100
    (view,) = bench.engine.what_if.under_model(1, "segregated_pm").currencies
    assert (view.initial_margin_minor, view.maintenance_margin_minor) == (15_000_010_000, 15_000_010_000)
    change = commands.cold(CommandKind.CHANGE_MARGIN_MODEL, ChangeMarginModel("segregated_pm"), 1)
    assert reasons(bench.send(change)) == [Reason.NOT_ENOUGH_FUNDS]
    assert bench.engine.account(1).margin_model == "segregated_sm"
    bench.transfer(CommandKind.DEPOSIT, 1, "USDC", 10_000 * world.DOLLAR)
    change = commands.cold(CommandKind.CHANGE_MARGIN_MODEL, ChangeMarginModel("segregated_pm"), 1)
    assert reasons(bench.send(change)) == []
    assert usd(bench) == (15_000.01, 15_000.01)
    assert bench.engine.audit() == []


def test_warnings_leave_out_what_options_are_worth() -> None:
    bench = Bench(configuration())
    bench.account("rich", USDC=10_000_000 * world.DOLLAR)
    bench.account("held", USDC=1_000 * world.DOLLAR)
    bench.marks(100_000.0, {NEAR_NS: 100_000.0, FAR_NS: 100_000.0}, {CALL: 0.6})
    price = bench.engine.market(CALL).mark_price_e8 // 10**8
    lots = 850 * 100 // price  # for nearly all of the cash; the rest pays the fee
    bench.place(1, CALL, SELL, price, lots)
    bench.place(2, CALL, BUY, price, lots)
    equity, _, maintenance = bench.margins(2)
    # below the outer warning, were it a ratio of these
    assert 800 * world.DOLLAR < maintenance < equity < 1.25 * maintenance
    bench.marks(100_500.0, {NEAR_NS: 100_500.0, FAR_NS: 100_500.0}, {CALL: 0.6})
    assert bench.engine.account(2).level == 0
    # a future as large as the rest of the cash is worth warns as before: 10 of risk beyond what the options cover
    bench.account("other", USDC=1_600 * world.DOLLAR)
    bench.place(1, PERPETUAL, SELL, 100_500, 10)
    bench.place(3, PERPETUAL, BUY, 100_500, 10)
    equity, _, maintenance = bench.margins(3)
    assert maintenance < equity < 1.1 * maintenance
    assert bench.engine.account(3).level == 1
    assert bench.engine.audit() == []


@pytest.mark.parametrize("model", ["segregated_pm", "cross_pm"])
def test_margins_of_an_order_are_what_it_adds_after_the_marks_have_moved(model: str) -> None:
    bench = holding({NEAR: 10}, model)
    for order in bench.engine.open_orders(1):
        bench.cancel(1, order.order_id)
    bench.place(1, PERPETUAL, BUY, 90_000, 5)
    (order,) = bench.engine.open_orders(1)
    bench.cancel(1, order.order_id)
    bench.marks(101_000.0, {NEAR_NS: 101_000.0, FAR_NS: 101_000.0}, {CALL: 0.6})
    said = bench.engine.what_if.order_margin(1, PERPETUAL, BUY, 100_000, 50)
    table = bench.engine.what_if.order_table(1, PERPETUAL, BUY, 100_000, 50)
    _, before, _ = bench.margins(1)
    bench.place(1, PERPETUAL, BUY, 100_000, 50)
    _, after, _ = bench.margins(1)
    assert table["entities"][0]["initial"] == after
    unit = 1 if model == "segregated_pm" else 100
    assert said == (after - before) * unit > 7_000 * world.DOLLAR
    assert bench.engine.audit() == []


def test_options_bought_on_debt_pay_for_nothing_else() -> None:
    """What an option adds to haircut value where cash is a debt is more than it is worth: all of that is kept back, so
    what is left for other risk is what the debt leaves."""
    bench = Bench(world.spanned(world.configuration(), crowded=False))
    bench.account("held", "cross_pm", ETH=100 * world.COIN)
    bench.account("rich", "segregated_pm", USDC=10**9 * world.DOLLAR)
    bench.marks(95_000.0, {world.LONG_EXPIRY_NS: 95_000.0, world.SHORT_EXPIRY_NS: 95_000.0}, {2: 0.6, 4: 0.6, 7: 0.6})
    bench.marks(3_000.0, underlying=1)
    equity, _, maintenance = bench.margins(1)
    call = 8
    price = bench.engine.market(call).mark_price_e8 // bench.engine.instrument(call).price_unit_e8
    bench.place(2, call, SELL, price, 500)
    bench.place(1, call, BUY, price, 500)
    (held,) = bench.engine.positions(1)
    assert held.quantity_lots == 500
    debt = bench.engine.ledger_room.cash_of(1, 1)
    assert debt < -10_000 * world.DOLLAR
    after, _, kept = bench.margins(1)
    left = after - kept - (equity - maintenance) - debt * 105 // 100 // 100  # 1e-4 USD, the debt counts 105 %
    assert -10 <= left <= 0
