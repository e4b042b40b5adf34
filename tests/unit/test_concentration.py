"""The charge on an owner's net delta: worked by hand, latched at marks, shared by the owner's accounts."""

from typing import Any

import msgspec
import numpy as np
import pytest

from exchange.config import MatrixParameters, Underlying
from exchange.events import EventKind
from exchange.parameters import Concentration
from exchange.parameters_span import SpanParameters
from gateway import margin_case
from gateway.library_sets import matrix_of, matrix_set, span_of, span_set
from margin_ext import models
from margin_ext.models import matrix_charges
from margin_ext.models.portfolio import Underlying as Market
from margin_ext.models.portfolio import portfolio
from tests.oracles import world
from tests.oracles.bench import BUY, SELL, Bench, only

PERPETUAL, CALL, USDC_PERPETUAL = 0, 4, 6
INTEREST = Concentration(open_interest_share_ppm=100_000, open_interest_rate_ppm=50_000, depth_move_ppm=0)
DEPTH = Concentration(open_interest_rate_ppm=0, depth_move_ppm=10_000, depth_cap_ppm=50_000)
COINS = world.COIN // 10_000  # of a lot of the inverse perpetual at 100,000


def venue(asked: Concentration | None, models: tuple[str, ...] = ("segregated_pm",), span: bool = False) -> Bench:
    """Accounts of one owner, then three rich strangers, at 100,000."""
    more = {} if asked is None else {"concentration": asked}
    kind = {"span": SpanParameters(**more)} if span else {"matrix": MatrixParameters(**more)}
    plain = world.configuration(underlyings=(Underlying(name="BTC", index_name="btc_usd", **kind),))
    plain = msgspec.structs.replace(plain, instruments=plain.instruments[:9], currencies=plain.currencies[:2])
    bench = Bench(plain)
    for number, model in enumerate(models):
        bench.account(f"own-{number}", model, 77, BTC=1_000 * world.COIN, USDC=10**8 * world.DOLLAR)
    for number in range(3):
        bench.account(f"rich-{number}", "segregated_pm", BTC=10**5 * world.COIN, USDC=10**10 * world.DOLLAR)
    mark(bench)
    return bench


def mark(bench: Bench, index: float = 100_000.0) -> None:
    bench.marks(index, {world.LONG_EXPIRY_NS: index, world.SHORT_EXPIRY_NS: index}, {2: 0.6, 4: 0.6, 7: 0.6})


def trade(bench: Bench, buyer: int, seller: int, slot: int, lots: int) -> None:
    unit = bench.engine.instrument(slot).price_unit_e8
    price = max(1, round(bench.engine.market(slot).mark_price_e8 / unit / 5)) * 5
    bench.place(seller, slot, SELL, price, lots)
    assert only(bench.place(buyer, slot, BUY, price, lots), EventKind.TRADE_EXECUTED)


def clear(bench: Bench, account: int) -> None:
    for order in bench.engine.open_orders(account):
        bench.cancel(account, order.order_id)


def charge(bench: Bench, account: int = 1, model: str = "segregated_pm") -> dict[str, int]:
    table = bench.engine.what_if.explain(account)
    (one,) = table["charges"] if model == "cross_pm" else [b for b in table["books"] if b["currency"] == "BTC"]
    return one["charges"]["concentration"]


def test_beyond_a_share_of_the_open_interest() -> None:
    """10,000 lots are open, 3,000 of them the owner's: 2,000 beyond a tenth, at 5 %."""
    bench = venue(INTEREST)
    plain = venue(None)
    for one in (bench, plain):
        trade(one, 2, 3, PERPETUAL, 7_000)
        trade(one, 1, 4, PERPETUAL, 3_000)
        mark(one)
    assert bench.engine.market_size.figures(0)[0] == 10_000 * COINS
    # 0.2 coins x 5 %, both margins; the rate is rounded up in its twelfth digit
    assert charge(bench)["initial"] == charge(bench)["maintenance"] == pytest.approx(world.COIN // 100, abs=1)
    assert bench.margins(1)[1] - plain.margins(1)[1] == charge(bench)["initial"]
    assert bench.margins(1)[2] - plain.margins(1)[2] == charge(bench)["maintenance"]
    # account 2, with 7,000: 6,000 beyond
    assert charge(bench, 2)["initial"] == pytest.approx(world.COIN * 3 // 100, abs=1)


@pytest.mark.parametrize("model", ["segregated_pm", "cross_pm"])
def test_span16_adds_it_after_the_factors(model: str) -> None:
    """As above: 0.2 coins at 5 %; with an order for 1,000 lots more 0.3 of 0.4; both margins, and in the table."""
    bench, plain = venue(INTEREST, (model,), True), venue(None, (model,), True)
    for one in (bench, plain):
        trade(one, 2, 3, PERPETUAL, 7_000)
        trade(one, 1, 4, PERPETUAL, 3_000)
        mark(one)
    wanted = world.COIN // 100 if model == "segregated_pm" else 10**7  # 0.01 coins, in 1e-4 USD at 100,000
    for figure in (1, 2):
        assert bench.margins(1)[figure] - plain.margins(1)[figure] == pytest.approx(wanted, abs=2)
    for one in (bench, plain):
        one.place(1, PERPETUAL, BUY, 199_000, 1_000)
    more = wanted * 3 // 2
    assert bench.margins(1)[1] - plain.margins(1)[1] == pytest.approx(more, abs=2)
    assert bench.margins(1)[2] - plain.margins(1)[2] == pytest.approx(wanted, abs=2)
    (entity,) = [e for e in bench.engine.what_if.explain(1)["entities"] if "span16" in e]
    (part,) = entity["span16"]
    assert part["concentration_charge"] == [pytest.approx(wanted, abs=2), pytest.approx(more, abs=2)]
    assert part["concentration"]["owner_delta_e10"] == {"positions": 3_000 * COINS, "with_orders": 4_000 * COINS}


@pytest.mark.parametrize("span", [False, True])
def test_orders_in_another_currency_of_the_account_count_too(span: bool) -> None:
    """An order in coin-settled contracts, filled, makes the owner larger that the dollar book is charged with."""
    bench = venue(INTEREST, span=span)
    trade(bench, 3, 4, PERPETUAL, 10_000)
    trade(bench, 1, 4, USDC_PERPETUAL, 200)
    mark(bench)
    before = bench.margins(1, 1)
    bench.place(1, PERPETUAL, BUY, 200_000, 5_000)
    counted = bench.margins(1, 1)
    assert counted[1] > before[1] and counted[2] == before[2]
    bench.place(2, PERPETUAL, SELL, 200_000, 5_000)
    assert before[2] < bench.margins(1, 1)[1] <= counted[1]


def test_what_closing_would_slip_through_the_books() -> None:
    """Bids of 4,000 lots within a per cent of the mark, asks of 2,000: closing 1,000 slips by 1 % x 1,000 / 4,000."""
    bench = venue(DEPTH)
    trade(bench, 1, 4, PERPETUAL, 1_000)
    for side, price, lots in ((BUY, 199_000, 2_500), (BUY, 198_000, 1_500), (BUY, 197_999, 9_000),
                              (SELL, 201_000, 2_000), (SELL, 202_001, 9_000)):  # fmt: skip
        bench.place(2, PERPETUAL, side, price, lots)
    mark(bench)
    assert bench.engine.market_size.figures(0)[1] == 2_000 * COINS
    assert charge(bench)["initial"] == world.COIN // 10 * 25 // 10_000
    trade(bench, 3, 4, USDC_PERPETUAL, 5)
    bench.place(2, USDC_PERPETUAL, SELL, 201_000, 500)  # 0.5 coins more to buy at
    mark(bench)
    assert bench.engine.market_size.figures(0)[1] == 4_000 * COINS
    # an empty side: the cap
    clear(bench, 2)
    mark(bench)
    assert bench.engine.market_size.figures(0)[1] == 0
    assert charge(bench)["initial"] == world.COIN // 10 * 5 // 100


def test_between_marks_only_the_owner_moves_it() -> None:
    bench = venue(INTEREST)
    trade(bench, 2, 3, PERPETUAL, 7_000)
    trade(bench, 1, 4, PERPETUAL, 3_000)
    mark(bench)
    before = bench.margins(1)
    trade(bench, 3, 2, PERPETUAL, 7_000)  # strangers close: 3,000 lots are left
    assert bench.margins(1) == before
    digest = bench.engine.state_digest()
    mark(bench)
    assert bench.engine.state_digest() != digest
    assert charge(bench)["initial"] == pytest.approx(world.COIN * 27 // 2_000, abs=1)  # 0.27 coins x 5 %


@pytest.mark.parametrize("models", [("segregated_pm",) * 2, ("segregated_pm", "cross_sm"), ("cross_pm", "cross_pm")])
def test_accounts_of_an_owner_share_it(models: tuple[str, ...]) -> None:
    """An owner long 3,000 + 1,000 of 10,000 lots: 3,000 beyond, three quarters of it the first account's."""
    bench = venue(INTEREST, models)
    trade(bench, 3, 4, PERPETUAL, 6_000)
    trade(bench, 1, 5, PERPETUAL, 3_000)
    alone = charge(bench, 1, models[0])["initial"]
    trade(bench, 2, 5, PERPETUAL, 1_000)
    mark(bench)
    unit = 1 if models[0] == "segregated_pm" else 10**5  # 1e-4 USD of a coin's 1e-10
    wanted = world.COIN * 3 // 10 * 5 // 100 * 3 // 4
    assert charge(bench, 1, models[0])["initial"] == pytest.approx(wanted * 10**9 // world.COIN if unit > 1 else wanted,
                                                                   abs=3_000 // unit + 1)  # fmt: skip
    assert alone != charge(bench, 1, models[0])["initial"]
    # an account that holds against the other: the owner's net is what counts
    trade(bench, 5, 2, PERPETUAL, 3_500)
    mark(bench)
    assert charge(bench, 1, models[0])["initial"] == 0


def test_open_orders_count_the_owners_too() -> None:
    """Orders of another account count beside an order of one's own, and not without."""
    bench = venue(INTEREST, ("segregated_pm",) * 2)
    trade(bench, 3, 4, PERPETUAL, 10_000)
    trade(bench, 1, 5, PERPETUAL, 2_000)
    mark(bench)
    alone = charge(bench)
    bench.place(2, PERPETUAL, BUY, 199_000, 5_000)
    assert charge(bench) == alone
    bench.place(1, PERPETUAL, BUY, 199_000, 10)
    # 2,010 own of 7,010 against 1,200: 2,010 x (1 - 1,200 / 7,010) x 5 %
    wanted = 2_010 * COINS * (1 - 1_200 / 7_010) * 0.05
    assert charge(bench)["initial"] == pytest.approx(wanted, abs=1)
    assert charge(bench)["maintenance"] == alone["maintenance"]
    explained = next(b for b in bench.engine.what_if.explain(1)["books"] if b["currency"] == "BTC")["concentration"]
    assert explained["own_delta_e10"] == {"positions": 2_000 * COINS, "with_orders": 2_010 * COINS}
    assert explained["owner_delta_e10"] == {"positions": 2_000 * COINS, "with_orders": 7_010 * COINS}
    assert explained["open_interest_e10"] == 12_000 * COINS


def test_supposed_lots_pay_as_held_ones() -> None:
    bench = venue(INTEREST)
    trade(bench, 2, 3, PERPETUAL, 7_000)
    mark(bench)
    (supposed, *_) = bench.engine.what_if.with_positions(1, {PERPETUAL: 3_000})
    bench.place(4, PERPETUAL, SELL, 200_000, 3_000)
    bench.place(1, PERPETUAL, BUY, 200_000, 3_000)
    assert bench.margins(1)[1:] == supposed[1:]


@pytest.mark.parametrize("changed", [
    {"open_interest_share_ppm": 50_000}, {"open_interest_rate_ppm": 90_000}, {"open_interest_floor_usd": 500_000},
    {"depth_move_ppm": 20_000}, {"depth_cap_ppm": 1_000}, {"depth_floor_usd": 10**6},
])  # fmt: skip
def test_no_field_is_passed_over(changed: dict[str, Any]) -> None:
    found = []
    for asked in (Concentration(), msgspec.structs.replace(Concentration(), **changed)):
        bench = venue(asked)
        trade(bench, 2, 3, PERPETUAL, 7_000)
        trade(bench, 1, 4, PERPETUAL, 3_000)
        for side, price in ((BUY, 199_000), (SELL, 201_000)):
            bench.place(2, PERPETUAL, side, price, 9_000)
        bench.place(2, PERPETUAL, BUY, 197_000, 5_000)
        bench.place(2, PERPETUAL, SELL, 203_000, 5_000)
        mark(bench)
        found.append(charge(bench))
    assert found[0] != found[1]


def test_a_rate_never_falls_as_the_owner_grows() -> None:
    """So that what orders may do is bounded by the largest deltas that they can make; and engine and library agree."""
    rng = np.random.default_rng(5)
    bench = venue(Concentration(depth_cap_ppm=40_000))
    for _ in range(20):
        trade(bench, 2, 3, PERPETUAL, int(rng.integers(1, 2_000)))
        trade(bench, 1, 4, PERPETUAL, int(rng.integers(1, 4_000)))
        bench.place(2, PERPETUAL, BUY, int(rng.integers(196_000, 199_000)), int(rng.integers(1, 3_000)))
        bench.place(2, PERPETUAL, SELL, int(rng.integers(201_000, 204_000)), int(rng.integers(1, 3_000)))
        mark(bench)
        clear(bench, 2)
        charges = [bench.engine.what_if.with_positions(1, {PERPETUAL: more}, question=lambda: charge(bench)["initial"])
                   for more in (0, 1, 2, 500, 9_000)]  # fmt: skip
        assert charges == sorted(charges)
        lots = next(p.quantity_lots for p in bench.engine.positions(1))
        interest, depth = (figure / world.COIN for figure in bench.engine.market_size.figures(0))
        market = Market(name="BTC", index_usd=100_000.0, open_interest_coins=interest, depth_coins=depth)
        book = portfolio([market], [], kind="perpetual", lots=[lots], lot_size=10.0, settlement="BTC")
        own = matrix_set(bench.engine.config.underlyings[0].matrix, "coin").concentration
        paid = matrix_charges.concentration(own, book, 0, np.array([lots / 10_000]))
        assert charges[0] / world.COIN * 100_000 == pytest.approx(paid, rel=1e-8, abs=1e-4)


def test_a_case_of_the_library_knows_the_market_and_the_owner() -> None:
    bench = venue(Concentration(depth_cap_ppm=40_000), ("segregated_pm", "cross_pm"))
    trade(bench, 3, 4, PERPETUAL, 5_000)
    trade(bench, 1, 5, PERPETUAL, 3_000)
    trade(bench, 2, 5, PERPETUAL, 1_000)
    mark(bench)
    case = models.case(margin_case.document(bench.engine, 1))
    rows = margin_case.comparison(case, models.margin(case.portfolio, case.sets))
    assert {row["figure"] for row in rows} == {"balance", "initial", "maintenance"}
    for row in rows:
        assert abs(row["difference"]) <= row["rounding"], row


def test_the_librarys_set_is_the_engines() -> None:
    for own in (MatrixParameters(), MatrixParameters(concentration=Concentration(depth_floor_usd=7))):
        assert matrix_of(matrix_set(own, "usd")) == own
    for own in (SpanParameters(), SpanParameters(concentration=Concentration(depth_floor_usd=7))):
        assert span_of(span_set(own)) == own
