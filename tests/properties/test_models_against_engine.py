"""The models of margin_ext against the engine's integers: equal within the engine's documented rounding.

A row is off by at most half a unit per lot (a put's, the difference of two, by one), a requirement adds a unit per
gross lot and is so never understated; factors, the rate of the delta shock and conversions are rounded up once.
"""

import msgspec
import numpy as np
import pytest

from exchange.config import Config, Instrument, Limits, MatrixParameters
from exchange.config import Currency as EngineCurrency
from exchange.config import Underlying as EngineUnderlying
from exchange.events import EventKind
from gateway.library_sets import span_set
from margin_ext.models import CreditSet, margin, matrix
from margin_ext.models.parameter_files import checked
from margin_ext.models.parameters import MatrixSet
from margin_ext.models.parameters_formula import FutureSchedule, FutureTier, StandardSet
from margin_ext.models.portfolio import Currency, Portfolio, Underlying, portfolio
from tests.oracles import world
from tests.oracles.bench import Bench, only

PRICES = (90_000.0, 3_000.0)
COIN_UNIT, USD_UNIT = 1e-10, 1e-4
NEVER_BELOW = -0.01
"""What doubles of the library may add to an exact figure, units."""


def library_set(parameters: MatrixParameters, numeraire: str) -> MatrixSet:
    """The engine's parameters by their own names."""
    values = msgspec.to_builtins(parameters) | {"numeraire": numeraire}
    return checked(msgspec.convert(values, MatrixSet))


def standard_set(config: Config) -> StandardSet:
    """The engine's formulas; all its underlyings share the option rates."""
    rates = config.underlyings[0].standard
    schedules = []
    for underlying in config.underlyings:
        own = underlying.standard
        tier = FutureTier(
            initial_ppm=own.future_initial_ppm, maintenance_ppm=own.future_maintenance_ppm,
            slope_ppb_per_coin=own.per_coin_ppm * 1_000,
        )  # fmt: skip
        schedules.append(FutureSchedule(underlying=underlying.name, tiers=(tier,)))
    return StandardSet(
        name="engine", option_initial_ppm=rates.short_initial_ppm, option_initial_floor_ppm=rates.short_floor_ppm,
        call_maintenance_ppm=rates.short_maintenance_ppm, put_maintenance_ppm=rates.short_maintenance_ppm,
        put_maintenance_of_mark_ppm=rates.put_mark_ppm, cap_spreads=True, futures=tuple(schedules),
    )  # fmt: skip


def venue(charged: bool | str) -> Config:
    """Charged without haircuts: what the rival scenarios lose falls on other currencies than in the library. Crowded:
    with a charge on concentration and no horizon, beyond which the library leaves an owner's delta as it is told."""
    config = world.configuration()
    if not charged:
        return config
    plain = tuple(msgspec.structs.replace(c, haircut_ppm=0, debt_ppm=1_000_000) for c in config.currencies)
    less = {"horizon_days": 0} if charged == "crowded" else {"concentration": msgspec.UNSET}
    return world.charged(msgspec.structs.replace(config, currencies=plain), **less)


def factored(config: Config, factor_ppm: int) -> Config:
    """The same with both factors of every grid at `factor_ppm`."""
    change = msgspec.structs.replace
    both = {"initial_factor_ppm": factor_ppm, "maintenance_factor_ppm": factor_ppm}
    return change(config, underlyings=tuple(change(u, matrix=change(u.matrix, **both)) for u in config.underlyings))


def traded(rng: np.random.Generator, model: str, charged: bool | str = False, factor_ppm: int = 0) -> Bench:
    """Account 1 with random positions against account 2, at random marks."""
    config = venue(charged)
    bench = Bench(factored(config, factor_ppm) if factor_ppm else config)
    for name in ("held", "rich"):
        bench.account(name, model, BTC=5_000 * world.COIN, ETH=50_000 * world.COIN, USDC=10**9 * world.DOLLAR)
    forwards = {expiry: PRICES[0] * rng.uniform(0.97, 1.05) for expiry in (world.SHORT_EXPIRY_NS, world.LONG_EXPIRY_NS)}
    vols = {slot: rng.uniform(0.3, 1.4) for slot in (2, 4, 7)}
    bench.marks(PRICES[0], forwards, vols)
    bench.marks(PRICES[1], underlying=1)
    for slot in rng.permutation(10)[: rng.integers(1, 11)]:
        slot, side = int(slot), int(rng.integers(2))
        spec, view = bench.engine.instrument(slot), bench.engine.market(slot)
        step = 5 if spec.kind == "option" and spec.inverse else 1
        price = max(1, round(view.mark_price_e8 / spec.price_unit_e8 / step)) * step
        lots = int(rng.integers(10, 3_000))
        bench.place(2, slot, 1 - side, price, lots)
        trades = only(bench.place(1, slot, side, price, lots), EventKind.TRADE_EXECUTED)
        assert sum(trade.quantity_lots for trade in trades) == lots
    return bench


def as_portfolio(bench: Bench) -> Portfolio:
    """What account 1 holds, with the engine's marks; futures at no unrealised P&L, which stands in the cash."""
    engine = bench.engine
    rows = []
    for held in engine.positions(1):
        spec, view = engine.instrument(held.instrument), engine.market(held.instrument)
        rows.append(
            {
                "underlying": spec.underlying, "settlement": spec.settlement, "kind": spec.kind,
                "is_call": spec.option_type != "put", "strike": spec.strike_e8 / 1e8,
                "days": (spec.expiry_ns - bench.time_ns) / world.DAY_NS if spec.expiry_ns else 0.0,
                "forward": view.forward_e8 / 1e8 if spec.kind == "option" else view.mark_price_e8 / 1e8,
                "vol": view.mark_vol_e6 / 1e6, "lots": held.quantity_lots, "lot_size": spec.lot_size_e8 / 1e8,
            }
        )  # fmt: skip
    coins = {"BTC": 1e10, "ETH": 1e10, "USDC": 1e6}
    currencies = []
    for spec, view in zip(engine.config.currencies, engine.account(1).currencies, strict=True):
        cash = (view.cash_minor + view.futures_unrealised_minor) / coins[spec.name]
        currencies.append(
            Currency(
                name=spec.name, underlying=spec.underlying, cash=cash, haircut_ppm=spec.haircut_ppm,
                debt_ppm=spec.debt_ppm,
            )
        )  # fmt: skip
    underlyings = []
    for number, (name, price) in enumerate(zip(("BTC", "ETH"), PRICES, strict=True)):
        sizes = engine.market_size.figures(number) or (None, None)
        interest, depth = (None if size is None else size / 1e10 for size in sizes)
        whole = sum(one.delta for one in engine.what_if.position_greeks(1) if one.underlying == number)
        underlyings.append(
            Underlying(
                name=name, index_usd=price, open_interest_coins=interest, depth_coins=depth, owner_delta_coins=whole
            )
        )
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return portfolio(underlyings, currencies, **columns)


def sets(numeraire: str, charged: bool | str) -> dict[str, MatrixSet]:
    return {u.name: library_set(u.matrix, numeraire) for u in venue(charged).underlyings}


def most_above(p: Portfolio, unit: float, coin: float, factor_ppm: int = 1_000_000) -> float:
    """How far the engine may lie above, in the requirement's own unit; `coin` is one coin's worth in it. Up to a factor
    of one a unit a lot is added and rows are off by another; beyond, as many of both."""
    lots = float(np.abs(p.lots).sum())
    coins = float(np.abs(p.size / np.where(p.is_option | ~p.inverse, 1.0, p.forward)).sum())
    return (2.0 * max(1, -(-factor_ppm // 1_000_000)) * lots + 10) * unit + coins * 1e-9 * coin


@pytest.mark.parametrize("charged", [False, True, "crowded"])
@pytest.mark.parametrize("run", range(12))
def test_segregated_requirements_agree(run: int, charged: bool | str, rng: np.random.Generator) -> None:
    rng = np.random.default_rng([run, int(rng.integers(1 << 31))])
    bench = traded(rng, "segregated_pm", charged)
    p = as_portfolio(bench)
    totals = matrix.margin(p, sets("coin", charged)).totals
    scale = {"BTC": 1e10, "USDC": 1e6, "ETH": 1e10}
    for entity, name in enumerate(("BTC", "USDC", "ETH")):
        _, initial, maintenance = bench.margins(1, entity)
        if name not in totals:
            assert initial == 0
            continue
        part = p.take(p.settlement == entity)
        unit, coin = (USD_UNIT, PRICES[0]) if name == "USDC" else (COIN_UNIT, 1.0)
        for ours, engine in ((totals[name].initial, initial), (totals[name].maintenance, maintenance)):
            assert NEVER_BELOW * unit <= engine / scale[name] - ours <= most_above(part, unit, coin)


@pytest.mark.parametrize("factor_ppm", [1_300_000, 2_500_000, 4_000_000])
@pytest.mark.parametrize("run", range(4))
def test_factors_above_one_understate_nothing(run: int, factor_ppm: int, rng: np.random.Generator) -> None:
    """A factor carries the rounding of rows along: a requirement adds as many units a lot."""
    rng = np.random.default_rng([run, int(rng.integers(1 << 31))])
    for model, numeraire in (("segregated_pm", "coin"), ("cross_pm", "usd")):
        bench = traded(rng, model, False, factor_ppm)
        p, own = as_portfolio(bench), factored(venue(False), factor_ppm)
        totals = matrix.margin(p, {u.name: library_set(u.matrix, numeraire) for u in own.underlyings}).totals
        if numeraire == "usd":
            found = {"USD": (*bench.margins(1)[1:], USD_UNIT, USD_UNIT)}
        else:
            found = {name: (*bench.margins(1, n)[1:], unit, coin) for n, name, unit, coin in (
                (0, "BTC", COIN_UNIT, COIN_UNIT), (1, "USDC", 1e-6, USD_UNIT), (2, "ETH", COIN_UNIT, COIN_UNIT),
            )}  # fmt: skip
        slack = sum(abs(c.cash) for c in p.currencies if c.underlying) * 2.0**-41 * 1e10 if numeraire == "usd" else 0.0
        for name, total in totals.items():
            initial, maintenance, minor, unit = found[name]
            for ours, engine in ((total.initial, initial), (total.maintenance, maintenance)):
                assert engine * minor - ours >= (NEVER_BELOW - slack) * unit, (name, model)


@pytest.mark.parametrize("charged", [False, True, "crowded"])
@pytest.mark.parametrize("run", range(12))
def test_cross_requirements_agree(run: int, charged: bool | str, rng: np.random.Generator) -> None:
    rng = np.random.default_rng([run, int(rng.integers(1 << 31))])
    bench = traded(rng, "cross_pm", charged)
    p = as_portfolio(bench)
    equity, initial, maintenance = bench.margins(1)
    total = matrix.margin(p, sets("usd", charged)).totals["USD"]
    above = most_above(p, USD_UNIT, PRICES[0])
    # a coin's price in 1e-4 USD is rounded in its 40th binary place
    coins = sum(abs(c.cash) for c in p.currencies if c.underlying) * 1e10 * 2.0**-41 * USD_UNIT
    above += coins
    assert equity * USD_UNIT == pytest.approx(matrix.collateral_value(p), abs=above)
    for ours, engine in ((total.initial, initial), (total.maintenance, maintenance)):
        assert NEVER_BELOW * USD_UNIT - coins <= engine * USD_UNIT - ours <= above


@pytest.mark.parametrize("numeraire", ["coin", "usd"])
def test_every_cell_agrees(numeraire: str, rng: np.random.Generator) -> None:
    """Rows of single instruments, unit by unit."""
    bench = traded(rng, "segregated_pm")
    p = as_portfolio(bench)
    own = library_set(world.BTC_MATRIX, numeraire)
    for row, held in enumerate(bench.engine.positions(1)):
        spec = bench.engine.instrument(held.instrument)
        if spec.underlying != "BTC":
            continue
        one = matrix.Table(own, p.take([row]))
        rows = bench.engine.rows.row(held.instrument, numeraire == "usd" or not spec.inverse)
        unit = USD_UNIT if numeraire == "usd" or not spec.inverse else COIN_UNIT
        count = one.pnl.shape[1]
        engine = np.array(rows[:count]) * unit * held.quantity_lots
        # a put's row is its call's less the forward's, both rounded
        allowed = abs(held.quantity_lots) * unit * (1.0 if spec.option_type == "put" else 0.5) * (1 + 1e-9)
        assert np.abs(engine - one.pnl[0]).max() <= allowed + 1e-9 * unit


@pytest.mark.parametrize("model", ["segregated_sm", "cross_sm"])
@pytest.mark.parametrize("run", range(8))
def test_formula_requirements_agree(model: str, run: int, rng: np.random.Generator) -> None:
    """Each figure is rounded up per lot and per position, at a mark that is an integer of minor units."""
    rng = np.random.default_rng([run, int(rng.integers(1 << 31))])
    bench = traded(rng, model)
    p = as_portfolio(bench)
    totals = margin(p, standard_set(bench.engine.config)).totals
    lots = float(np.abs(p.lots).sum())
    if model == "cross_sm":
        prices = {"BTC": PRICES[0], "ETH": PRICES[1], "USDC": 1.0}
        for part, engine in zip(("initial", "maintenance"), bench.margins(1)[1:], strict=True):
            ours = sum(getattr(total, part) * prices[name] for name, total in totals.items())
            assert engine * USD_UNIT == pytest.approx(ours, rel=1e-9, abs=3e-6 * lots + 1e-3)
        return
    scale = {"BTC": 1e10, "USDC": 1e6, "ETH": 1e10}
    for entity, name in enumerate(("BTC", "USDC", "ETH")):
        _, initial, maintenance = bench.margins(1, entity)
        if name not in totals:
            assert (initial, maintenance) == (0, 0)
            continue
        for ours, engine in ((totals[name].initial, initial), (totals[name].maintenance, maintenance)):
            assert engine / scale[name] == pytest.approx(ours, rel=1e-9, abs=(2 * lots + 10) / scale[name])


SPAN_NS = [world.START_NS + days * world.DAY_NS for days in (3, 40, 120)]


def spanned_venue(points: bool) -> Config:
    """Contracts in USDC on two coins that are margined by `span16`, with a credit between them."""
    btc_span = world.BTC_POINTS if points else world.BTC_SPAN
    future = {
        "settlement": "USDC", "inverse": False, "price_unit_e8": 10**6, "lot_size_e8": 10**6,
        "max_price_units": 100_000_000,
    }  # fmt: skip
    listed = []
    for coin, strikes in (("BTC", (80_000, 90_000, 100_000)), ("ETH", (2_800, 3_200))):
        listed.append(Instrument(name=f"{coin}-PERPETUAL", kind="perpetual", underlying=coin, **future))
        for expiry_ns in SPAN_NS:
            at = {"underlying": coin, "expiry_ns": expiry_ns}
            listed.append(Instrument(name=f"{coin}-{expiry_ns}", kind="future", **at, **future))
            listed += [
                Instrument(
                    name=f"{coin}-{expiry_ns}-{strike}-{kind}", kind="option", strike_e8=strike * 10**8,
                    option_type=kind, **at, **future,
                )
                for strike in strikes
                for kind in ("call", "put")
            ]  # fmt: skip
    btc, eth = (
        EngineUnderlying(name=name, index_name=name.lower(), span=span)
        for name, span in (("BTC", btc_span), ("ETH", world.ETH_SPAN))
    )
    return Config(
        currencies=(EngineCurrency(name="USDC", exponent=6),), underlyings=(btc, eth), instruments=tuple(listed),
        limits=Limits(max_accounts=4, max_instruments=64), span_credits=world.SPAN_CREDITS,
    )  # fmt: skip


def span_traded(rng: np.random.Generator, points: bool) -> Bench:
    """Account 1 with random positions against account 2, in a venue of `spanned_venue`."""
    bench = Bench(spanned_venue(points))
    for name in ("held", "rich"):
        bench.account(name, USDC=10**10 * world.DOLLAR)
    for number, price in enumerate(PRICES):
        forwards = {expiry_ns: price * rng.uniform(0.97, 1.05) for expiry_ns in SPAN_NS}
        vols = {slot: rng.uniform(0.3, 1.4) for slot, _, _ in bench.engine.pairs(number)}
        bench.marks(price, forwards, vols, underlying=number)
    slots = bench.engine.instruments()
    for slot in rng.permutation(slots)[: rng.integers(1, 14)]:
        slot, side, lots = int(slot), int(rng.integers(2)), int(rng.integers(10, 3_000))
        price = max(1, bench.engine.market(slot).mark_price_e8 // 10**6)
        bench.place(2, slot, 1 - side, price, lots)
        bench.place(1, slot, side, price, lots)
    return bench


@pytest.mark.parametrize("run", range(24))
def test_span16_requirements_agree_in_dollars(run: int, rng: np.random.Generator) -> None:
    """The engine's equity holds option values, and so its requirement: above the library's by the net option value."""
    rng = np.random.default_rng([run, int(rng.integers(1 << 31))])
    bench = span_traded(rng, run > 11)
    config = bench.engine.config
    p = as_portfolio(bench)
    found = {u.name: span_set(u.span) for u in config.underlyings}
    credit = msgspec.convert(msgspec.to_builtins(config.span_credits), CreditSet)
    requirements = margin(p, found, credit_set=credit).requirements
    assert requirements
    _, initial, maintenance = bench.margins(1)
    largest = max(u.span.initial_factor_ppm for u in config.underlyings)
    above = most_above(p, USD_UNIT, PRICES[0], largest)
    value = sum(view.options_value_minor for view in bench.engine.account(1).currencies)  # at integer marks
    for name, engine in (("initial", initial), ("maintenance", maintenance)):
        ours = sum(getattr(one, name) for one in requirements)
        assert NEVER_BELOW * USD_UNIT <= (engine - value) / 1e6 - ours <= above
