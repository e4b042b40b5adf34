"""Contracts in the half hour of their settlement average: marks, rows and deltas by hand and against the library."""

from typing import Any

import msgspec
import pytest

from exchange import commands, events
from exchange.config import MatrixParameters, Underlying
from exchange.engine import Engine
from exchange.events import EventKind
from exchange.risk.scenarios import columns
from exchange.what_if import parameters_hash
from gateway import margin_case
from margin_ext import models, price
from tests.oracles import world
from tests.oracles.bench import BUY, SELL, Bench, only
from tests.oracles.history import History

FUTURE, CALL, PUT, USDC_PUT, USDC_CALL, USDC_FUTURE = 0, 1, 2, 3, 4, 5
MINUTE_NS = 60 * 10**9
EXPIRY_NS = world.SHORT_EXPIRY_NS
VOL = 0.8
MATRIX = MatrixParameters(extended_dampener_usd=0, delta_threshold_usd=10**9)


def venue(averaging: Any = True, model: str = "segregated_pm", underlying: dict[str, Any] | None = None) -> Bench:
    """Dated futures and options of one expiry, inverse and linear; account 1 of the model, account 2 rich."""
    plain = world.configuration()
    future, perpetual = plain.instruments[1], plain.instruments[6]
    listed = (
        msgspec.structs.replace(future, name="BTC-SHORT", expiry_ns=EXPIRY_NS, min_quantity_lots=1),
        *plain.instruments[2:4],
        *(msgspec.structs.replace(o, name=f"USDC-SHORT-{o.option_type}", expiry_ns=EXPIRY_NS, strike_e8=95_000 * 10**8)
          for o in plain.instruments[7:9]),
        msgspec.structs.replace(perpetual, name="USDC-SHORT", kind="future", expiry_ns=EXPIRY_NS),
    )  # fmt: skip
    own = Underlying(name="BTC", index_name="btc_usd", settlement_averaging=averaging, matrix=MATRIX, jump_sources=1,
                     mark_jump_ppm=900_000, **(underlying or {}))  # fmt: skip
    currencies = tuple(msgspec.structs.replace(c, haircut_ppm=0, debt_ppm=10**6) for c in plain.currencies[:2])
    bench = Bench(msgspec.structs.replace(plain, underlyings=(own,), instruments=listed, currencies=currencies))
    bench.account("held", model, BTC=100 * world.COIN, USDC=10**7 * world.DOLLAR)
    bench.account("rich", "segregated_pm", BTC=10_000 * world.COIN, USDC=10**9 * world.DOLLAR)
    mark(bench, 95_000.0)
    return bench


def mark(bench: Bench, index: float, before_ns: int | None = None, forward: float | None = None) -> None:
    """Marks, so long before the expiry."""
    bench.time_ns = bench.time_ns if before_ns is None else EXPIRY_NS - before_ns
    bench.marks(index, {EXPIRY_NS: index if forward is None else forward}, {CALL: VOL, USDC_CALL: VOL})


def half_known(bench: Bench, known: float = 96_000.0, forward: float = 94_000.0) -> None:
    """Samples of one price over the first half of the window; then the forward is elsewhere."""
    for minutes in range(30, 15, -1):
        mark(bench, known, minutes * MINUTE_NS)
    mark(bench, known, 15 * MINUTE_NS, forward)


def take(bench: Bench, slot: int, lots: int) -> None:
    side, unit = (BUY if lots > 0 else SELL), bench.engine.instrument(slot).price_unit_e8
    at = max(1, round(bench.engine.market(slot).mark_price_e8 / unit / 5)) * 5
    bench.place(2, slot, 1 - side, at, abs(lots))
    assert only(bench.place(1, slot, side, at, abs(lots)), EventKind.TRADE_EXECUTED)


def test_what_is_known_no_longer_moves() -> None:
    """Half of the average known at 96,000, the forward at 94,000: 95,000, of which 47,000 move."""
    bench = venue()
    half_known(bench)
    engine = bench.engine
    assert engine.market(FUTURE).mark_price_e8 == engine.market(USDC_FUTURE).mark_price_e8 == 95_000 * 10**8
    # 0.001 BTC: 16 % of the moving half
    falls = engine.rows.row(USDC_FUTURE, True)
    assert min(falls[:27]) == round(-0.16 * 47_000 * 0.001 * 1e4)
    # 10 USD at 95,000 and at 95,000 - 7,520, in coins
    coins = 10 / 95_000 - 10 / (95_000 - 0.16 * 47_000)
    assert min(engine.rows.row(FUTURE, False)[:27]) == round(coins * 1e10)
    # and these coins at the index, which falls whole
    assert engine.rows.row(FUTURE, True)[engine.rows.row(FUTURE, False).index(round(coins * 1e10))] == round(
        coins * 96_000 * 0.84 * 1e4)  # fmt: skip


def test_an_option_is_priced_on_the_average() -> None:
    """Variance of a third of what is left, at the vol that the open half lends to the whole."""
    bench = venue()
    half_known(bench)
    years = 15 * MINUTE_NS / (365 * world.DAY_NS) / 3
    share = 47_000 / 95_000
    wanted = price(95_000, 95_000, VOL * share, years, True)
    assert bench.engine.market(USDC_CALL).mark_price_e8 == pytest.approx(wanted * 1e8, abs=1)
    assert bench.engine.market(CALL).mark_price_e8 == pytest.approx(wanted / 95_000 * 1e8, abs=1)
    # 8 % up, vol the same: the forward's 8 % are 3.96 % of the price; the open part's share of it has grown
    column = [(c.move_ppm, c.vol) for c in columns(MATRIX)].index((80_000, 0))
    moved = 48_000 + 0.5 * 94_000 * 1.08
    after = price(moved, 95_000, VOL * (47_000 * 1.08 / moved), years, True)
    row = bench.engine.rows.row(USDC_CALL, True)[column]
    assert row == pytest.approx((after - wanted) * 0.01 * 1e4, abs=1)
    # before the window two thirds of it are missing from the variance, once the whole time
    early, plain = venue(), venue(False)
    left = (EXPIRY_NS - early.time_ns) / (365 * world.DAY_NS)
    window = 30 * MINUTE_NS / (365 * world.DAY_NS)
    for one, time in ((early, left - window * 2 / 3), (plain, left)):
        assert one.engine.market(USDC_CALL).mark_price_e8 == pytest.approx(
            price(95_000, 95_000, VOL, time, True) * 1e8, abs=1)  # fmt: skip


def test_a_put_a_call_and_a_future_net_to_nothing() -> None:
    bench = venue()
    half_known(bench)
    rows = bench.engine.rows
    lots = 10  # of the future to one of the options: 0.01 BTC in dollars
    call, put, future = (rows.row(slot, True) for slot in (USDC_CALL, USDC_PUT, USDC_FUTURE))
    plain = range(27)  # extended moves of futures are clamped
    assert all(abs(call[j] - put[j] - lots * future[j]) <= lots for j in plain)


def test_deltas_decay_to_nothing_over_the_window() -> None:
    bench = venue()
    found = []
    for minutes in (31, 30, 20, 10, 5, 1, 0):
        mark(bench, 95_000.0, minutes * MINUTE_NS)
        found.append(bench.engine.rows.greeks(FUTURE, bench.time_ns)[0])
        assert bench.engine.rows.greeks(USDC_CALL, bench.time_ns)[0] == pytest.approx(found[-1] * 0.5, abs=0.002)
    assert found == pytest.approx([1, 1, 2 / 3, 1 / 3, 1 / 6, 1 / 30, 0])


@pytest.mark.parametrize("slot", [FUTURE, CALL, PUT, USDC_PUT, USDC_CALL, USDC_FUTURE])
def test_the_last_mark_is_what_it_settles_at(slot: int) -> None:
    """Nothing but the fee is lost or won at the settlement, however the index ends; without averaging something is."""
    found = []
    sign = -1 if slot in (PUT, USDC_PUT) else 1  # so that options end in the money
    for averaging in (True, False):
        bench = venue(averaging)
        take(bench, slot, 40)
        for number in range(31):
            mark(bench, 95_000.0 + sign * 100 * number, (30 - number) * MINUTE_NS)
        name = bench.engine.instrument(slot).settlement
        entity = 0 if name == "BTC" else 1
        before, paid = bench.engine.account(1).currencies[entity].equity_minor, bench.engine.ledger(name)["fees"]
        bench.send(commands.record(commands.CommandKind.TICK))
        assert not bench.engine.positions(1)
        fee = (bench.engine.ledger(name)["fees"] - paid) // 2  # of both sides
        found.append(abs(bench.engine.account(1).currencies[entity].equity_minor + fee - before))
    assert found[0] <= 40 * 2 < 10_000 < found[1]


@pytest.mark.parametrize("model", ["segregated_pm", "cross_pm"])
def test_requirements_are_the_librarys(model: str) -> None:
    bench = venue(model=model)
    half_known(bench)
    for slot, lots in ((FUTURE, 3_000), (CALL, -5), (PUT, 8), (USDC_CALL, 30), (USDC_FUTURE, -200)):
        take(bench, slot, lots)
    case = models.case(margin_case.document(bench.engine, 1))
    assert set(case.portfolio.average_fraction) == {0.5} and set(case.portfolio.average_price) == {96_000.0}
    p, rows = case.portfolio, case.portfolio.lots
    assert margin_case.shown_hashes(case.sets) == {"BTC": parameters_hash(MATRIX)}
    totals = models.margin(p, case.sets).totals
    for entity, (name, scale) in enumerate(
        [("BTC", 1e10), ("USDC", 1e6)] if model == "segregated_pm" else [("USD", 1e4)]
    ):
        unit = 1e-10 if name == "BTC" else 1e-4
        above = (2 * sum(abs(rows)) + 10) * unit
        above += 0 if name == "BTC" else 3_000 * 96_000 * 1e-10  # coins of the future's lots
        _, initial, maintenance = bench.margins(1, entity)
        for engine, ours in ((initial, totals[name].initial), (maintenance, totals[name].maintenance)):
            assert ours > 0 and -5 * unit <= engine / scale - ours <= above


def test_greeks_are_those_of_the_average() -> None:
    """Against differences of the price in forward and vol."""
    bench = venue()
    half_known(bench)
    years = 15 * MINUTE_NS / (365 * world.DAY_NS) / 3

    def value(forward: float, vol: float) -> float:
        fixing = 48_000 + 0.5 * forward
        return price(fixing, 95_000, vol * 0.5 * forward / fixing, years, True)

    delta, gamma, vega, _, _ = bench.engine.rows.greeks(USDC_CALL, bench.time_ns)
    assert delta == pytest.approx((value(94_005, VOL) - value(93_995, VOL)) / 10, rel=1e-4)
    assert vega == pytest.approx((value(94_000, VOL + 0.001) - value(94_000, VOL - 0.001)) / 0.002, rel=1e-4)
    second = (value(94_010, VOL) - 2 * value(94_000, VOL) + value(93_990, VOL)) / 100
    assert gamma == pytest.approx(second, rel=0.03)  # the open part's share is held
    take(bench, USDC_CALL, 100)
    (one,) = bench.engine.what_if.greeks(1)
    assert one.delta == pytest.approx(delta, rel=1e-9)


def test_safe_bands_know_what_settles() -> None:
    """Through the half hour of an expiry the events are the same with bands and without."""
    averaged = world.averaged(world.configuration(instruments=world.instruments(world.START_NS + 35 * MINUTE_NS)))
    history = History(23, ticks=True, configuration=averaged)
    plain, bands = Engine(), Engine()
    plain.band_accounts, bands.band_accounts = 1 << 62, 0
    within = 0
    for _ in range(2_000):
        record = history.next()
        plain.apply(record)
        bands.apply(record)
        happened = plain.take_events()
        assert bytes(bands.take_events()) == bytes(happened)
        seen = list(events.records(happened))
        history.saw(seen)
        if not any(kind == EventKind.MARKS_UPDATED and fields["underlying"] == 0 for kind, fields, _ in seen):
            continue  # bands of accounts that traded are void, and forgotten with the next mark
        left = world.START_NS + 35 * MINUTE_NS - plain.marks_time_ns(0) if plain.seq > 1 else 0
        if 0 < left < 29 * MINUTE_NS:
            within += 1
            for account in plain.account_ids():
                # a long option stands for nothing under margin by formula
                by_scenarios = plain.account(account).margin_model.endswith("_pm")
                if any((p.quantity_lots < 0 or (p.quantity_lots and by_scenarios))
                       and plain.instrument(p.instrument).expiry_ns == world.START_NS + 35 * MINUTE_NS
                       for p in plain.positions(account)):  # fmt: skip
                    assert bands.monitor.bands.band(account, 0) is None
    assert within > 5


def test_without_it_nothing_is_averaged() -> None:
    bench = venue(msgspec.UNSET)
    half_known(bench)
    assert bench.engine.market(FUTURE).mark_price_e8 == 94_000 * 10**8
    assert bench.engine.rows.greeks(FUTURE, bench.time_ns)[0] == 1.0
