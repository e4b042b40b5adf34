"""A venue's account as a case of the library: same figures within rounding, same hashes; Greeks, projected margins and
liquidation prices that the engine's reads give."""

import json

import msgspec
import pytest

from exchange import config, governance
from exchange.commands import CommandKind
from exchange.parameters import IsolatedParameters, MatrixParameters, StandardParameters
from exchange.views import TENOR_DAYS
from exchange.what_if import parameters_hash
from gateway import library_sets, margin_case
from gateway.render_margin import liquidation_price
from margin_ext import models
from margin_ext.models.sensitivities import TENOR_DAYS as LIBRARY_TENORS
from tests.driver import COIN, DAY, SECOND, START_NS, USDC, Driver, future, linear_perpetual, option, perpetual

MODELS = ("segregated_pm", "cross_pm", "segregated_sm", "cross_sm")
SOON, LATE = (START_NS // DAY * DAY + days * DAY + 8 * 3_600 * 10**9 for days in (5, 60))
CALL, PUT = f"BTC-{SOON // DAY}-110000-C", f"BTC-{LATE // DAY}-90000-P"
LINEAR = [f"USDC-{LATE // DAY}-{strike}-C" for strike in (100_000, 110_000)]
DATED = f"BTC-{LATE // DAY}"


def venue(model: str) -> Driver:
    listed = [perpetual(), linear_perpetual(), future(LATE), option(110_000, "call", SOON), option(90_000, "put", LATE)]
    listed += [option(strike, "call", LATE, "USDC") for strike in (100_000, 110_000)]
    currencies = (
        config.Currency("BTC", 10, haircut_ppm=50_000, underlying="BTC"),
        config.Currency("USDC", 6, debt_ppm=1_050_000),
    )
    underlyings = (config.Underlying("BTC", "btc_usd", matrix=MatrixParameters(name="grid", version=3)),)
    made = Driver(listed, config.Config(currencies=currencies, underlyings=underlyings))
    made.maker = made.account("maker", btc=10_000, usdc=1_000_000_000)
    made.alice = made.account("alice", btc=20, usdc=300_000, model=model)
    made.marks(100_000, forward=101_000)
    return made


def filled(model: str) -> Driver:
    made = venue(model)
    for name, side, price, lots in (
        ("BTC-PERPETUAL", "buy", 200_000, 10_000), (DATED, "sell", 202_000, 4_000), (CALL, "sell", 200, 12),
        (PUT, "buy", 500, 7), (LINEAR[0], "buy", 2_000, 20), (LINEAR[1], "sell", 1_200, 15),
        ("BTC_USDC-PERPETUAL", "sell", 1_000_000, 900),
    ):  # fmt: skip
        made.trade(made.maker, made.alice, name, side, price, lots)
    made.now += 3_600 * 10**9
    made.marks(104_000, vol=0.5, forward=105_500)
    return made


@pytest.mark.parametrize("model", MODELS)
def test_the_case_follows_rates_that_were_announced(model: str) -> None:
    made = filled(model)
    before = made.engine.account(made.alice).initial_margin_usd_e4
    payload = governance.AnnounceMargin(
        underlying="BTC", scale_ppm=1_300_000, effective_ns=made.now + 3_600 * SECOND, operator=1
    )
    made.cold(CommandKind.ANNOUNCE_MARGIN, payload)
    made.now += 3_600 * SECOND
    made.marks(104_000, vol=0.5, forward=105_500)
    made.tick()
    assert made.engine.account(made.alice).initial_margin_usd_e4 > before
    case = models.case(json.loads(json.dumps(margin_case.document(made.engine, made.alice))))
    for row in margin_case.comparison(case, models.margin(case.portfolio, case.sets)):
        assert abs(row["difference"]) <= row["rounding"] < 1e-3 * abs(row["library"]), row


@pytest.mark.parametrize("model", MODELS)
def test_the_case_gives_the_venues_figures(model: str) -> None:
    made = filled(model)
    document = json.loads(json.dumps(margin_case.document(made.engine, made.alice)))
    case = models.case(document)
    rows = margin_case.comparison(case, models.margin(case.portfolio, case.sets))
    assert {row["figure"] for row in rows} == {"balance", "initial", "maintenance"}
    assert {row["currency"] for row in rows} == ({"USD"} if model.startswith("cross") else {"BTC", "USDC"})
    for row in rows:
        assert abs(row["difference"]) <= row["rounding"] < 1e-3 * abs(row["library"]), row
    shown = margin_case.shown_hashes(case.sets)
    assert shown == {one["underlying"]: one["sha256"] for one in document["source"]["parameters"]}
    document["positions"][0]["lots"] += 400
    case = models.case(document)
    rows = margin_case.comparison(case, models.margin(case.portfolio, case.sets))
    assert any(abs(row["difference"]) > row["rounding"] for row in rows)


def test_hashes_are_the_venues() -> None:
    """Of sets made from a venue's parameters, and of none that a venue cannot have."""
    matrix, standard = MatrixParameters(vol_up_ppm=400_000), StandardParameters(per_coin_ppm=70)
    for numeraire in ("coin", "usd"):
        assert library_sets.venue_hash(library_sets.matrix_set(matrix, numeraire), "BTC") == parameters_hash(matrix)
    own = library_sets.standard_set(standard, "ETH")
    assert library_sets.venue_hash(own, "ETH") == parameters_hash(standard)
    assert library_sets.venue_hash(own, "BTC") is None
    assert library_sets.venue_hash(models.shipped("isolated"), "BTC") == parameters_hash(IsolatedParameters())
    by_entry = msgspec.structs.replace(models.shipped("isolated"), maintenance_basis="entry")
    assert library_sets.venue_hash(by_entry, "BTC") is None


def test_greeks_are_those_of_the_library() -> None:
    made = filled("segregated_pm")
    found = made.engine.what_if.greeks(made.alice)
    assert [(one.underlying, one.currency) for one in found] == [(0, 0), (0, 1)]
    case = models.case(margin_case.document(made.engine, made.alice))
    for number, one in enumerate(found):
        p = case.portfolio
        own = models.by_underlying(p.take(p.settlement == number))["BTC"]
        for name in ("gamma", "vega", "theta"):
            assert getattr(one, name) == pytest.approx(getattr(own, name), rel=1e-9), name
        # futures: integers of 1e-10 coin a lot
        assert one.delta == pytest.approx(own.delta_coins, abs=14_000 * 0.5e-10)
        assert one.rho == pytest.approx(own.rho, rel=1e-6)
        assert one.vega_by_tenor == pytest.approx(own.vega_by_tenor, rel=1e-9)
        assert sum(one.vega_by_tenor) == pytest.approx(one.vega) != 0
    assert TENOR_DAYS == LIBRARY_TENORS
    call = made.slot(CALL)
    (short,) = (one for one in made.engine.what_if.position_greeks(made.alice) if one.instrument == call)
    value = -12 * 0.1 * made.engine.market(call).mark_price_e8 / 1e8
    assert short.delta < 0 and short.net_delta == pytest.approx(short.delta - value, rel=1e-6)
    assert found[0].later_net_delta == pytest.approx(found[0].net_delta - short.net_delta)


@pytest.mark.parametrize("model", MODELS)
def test_projected_margins_are_those_after_the_closest_expiry(model: str) -> None:
    made = filled(model)
    digest = made.engine.state_digest()
    projected = made.engine.what_if.projected(made.alice)
    assert made.engine.state_digest() == digest
    before = made.engine.what_if.margins(made.alice)
    slot = made.slot(CALL)
    units = made.engine.market(slot).mark_price_e8 // made.engine.instrument(slot).price_unit_e8
    made.trade(made.maker, made.alice, CALL, "buy", units, 12)
    after = made.engine.what_if.margins(made.alice)
    assert before != after
    for mine, real in zip(projected, after, strict=True):
        assert mine[1:] == pytest.approx(real[1:], rel=1e-4)
    assert made.engine.what_if.projected(made.alice) is None


def test_questions_see_what_is_supposed() -> None:
    made = filled("segregated_pm")
    what_if, slot = made.engine.what_if, made.slot(CALL)
    plain = made.engine.what_if.greeks(made.alice)
    seen = what_if.with_positions(
        made.alice, {slot: 12}, True, lambda: (what_if.greeks(made.alice), what_if.projected(made.alice))
    )
    assert seen[0][0].vega != plain[0].vega and seen[1] is None
    more = what_if.with_positions(made.alice, {slot: -5}, True, lambda: what_if.projected(made.alice))
    assert more == made.engine.what_if.projected(made.alice)
    assert what_if.greeks(made.alice) == plain
    made.sound()


@pytest.mark.parametrize(
    ("name", "side", "price", "lots"),
    [
        ("BTC-PERPETUAL", "buy", 200_000, 30_000),
        ("BTC-PERPETUAL", "sell", 200_000, 900_000),
        ("BTC_USDC-PERPETUAL", "buy", 1_000_000, 20_000),
        ("BTC_USDC-PERPETUAL", "sell", 1_000_000, 20_000),
    ],
)
def test_the_liquidation_price_is_where_the_balance_meets_the_maintenance(name, side, price, lots) -> None:
    made = venue("segregated_sm")
    linear = name.startswith("BTC_")
    made.trade(made.maker, made.alice, name, side, price, lots)
    cash = made.engine.account(made.alice).currencies[linear]
    view = made.engine.positions(made.alice)[0]
    instrument, market = made.engine.instrument(view.instrument), made.engine.market(view.instrument)
    exponent = 6 if linear else 10
    held = cash.cash_minor / (USDC if linear else COIN)
    at = liquidation_price(held, exponent, view, instrument, market, StandardParameters())
    assert at is not None and (at < 100_000) == (side == "buy")
    steps = [100_000 + (at * factor - 100_000) * n / 40 for n, factor in ((n, 1.0) for n in range(1, 40))]
    for mark in (*steps, at + (1 if side == "buy" else -1)):
        made.now += 10**9
        made.marks(mark)
    balance, _, maintenance = made.engine.what_if.margins(made.alice)[linear]
    assert balance >= maintenance > 0.99 * balance
    made.now += 10**9
    made.marks(at - (1 if side == "buy" else -1))
    balance, _, maintenance = made.engine.what_if.margins(made.alice)[linear]
    assert balance < maintenance


def test_where_there_is_no_liquidation_price() -> None:
    made = venue("segregated_sm")
    made.trade(made.maker, made.alice, "BTC-PERPETUAL", "sell", 200_000, 1_000)
    view = made.engine.positions(made.alice)[0]
    instrument, market = made.engine.instrument(view.instrument), made.engine.market(view.instrument)
    assert liquidation_price(20.0, 10, view, instrument, market, StandardParameters()) is None
