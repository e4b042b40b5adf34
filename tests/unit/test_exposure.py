"""Requirements: what hedges, options, open orders and the account models cost."""

import itertools

import pytest

from exchange.commands import CommandKind, OrderFlag
from exchange.config import MatrixParameters, Underlying
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.oracles import world
from tests.oracles.bench import BUY, SELL, Bench, only, reasons
from tests.oracles.shadow import Shadow

PERPETUAL, LONG_FUTURE, CALL, PUT, USDC_PERPETUAL, USDC_PUT, ETH_PERPETUAL = 0, 1, 4, 5, 6, 7, 9
# no cushion: a scenario loss counts from the first unit
PLAIN = MatrixParameters(extended_dampener_usd=0, delta_threshold_usd=10**9)
FORWARDS = {world.LONG_EXPIRY_NS: 100_000.0, world.SHORT_EXPIRY_NS: 100_000.0}
VOLS = {2: 0.6, 4: 0.6, 7: 0.6}


def venue(*models: str, coins: int = 10) -> Bench:
    underlyings = (
        Underlying(name="BTC", index_name="btc_usd", matrix=PLAIN),
        Underlying(name="ETH", index_name="eth_usd", matrix=PLAIN),
    )
    bench = Bench(world.configuration(underlyings=underlyings))
    for number, model in enumerate((*models, "segregated_pm")):
        amount = coins if number < len(models) else 10_000
        bench.account(f"a{number}", model, BTC=amount * world.COIN, USDC=amount * 10_000 * world.DOLLAR)
    bench.marks(100_000.0, FORWARDS, VOLS)
    bench.marks(4_000.0, underlying=1)
    return bench


def take(bench: Bench, account_id: int, slot: int, side: int, price: int, lots: int) -> None:
    """Give the account a position against the last, rich account."""
    rich = bench.engine.account_ids()[-1]
    bench.place(rich, slot, 1 - side, price, lots)
    trades = only(bench.place(account_id, slot, side, price, lots), EventKind.TRADE_EXECUTED)
    assert sum(t.quantity_lots for t in trades) == lots


def at_mark(bench: Bench, slot: int) -> int:
    """The mark in price units, to a tick of five."""
    unit = bench.engine.instrument(slot).price_unit_e8
    return round(bench.engine.market(slot).mark_price_e8 / unit / 5) * 5


def requirement(bench: Bench, account_id: int, entity: int = 0) -> int:
    return bench.margins(account_id, entity)[1]


def test_nothing_held_needs_nothing() -> None:
    bench = venue("segregated_pm", "cross_pm")
    assert bench.margins(1, 0) == (10 * world.COIN, 0, 0)
    assert bench.margins(1, 2) == (0, 0, 0)
    # a cross account's coins are themselves a risk: 16 % of 1,000,000 USD less haircut
    equity, initial, maintenance = bench.margins(2)
    assert equity == 1_080_000 * 10**4
    assert initial == pytest.approx(0.98 * 160_000 * 10**4, rel=1e-9)
    assert maintenance == pytest.approx(0.8 * initial, rel=1e-9)


def test_a_perpetual_costs_its_worst_edge_and_the_roll() -> None:
    bench = venue("segregated_pm")
    take(bench, 1, PERPETUAL, BUY, 200_000, 10_000)
    _, initial, maintenance = bench.margins(1)
    exact = world.COIN * (1 / 0.84 - 1) + 0.01 * world.COIN
    assert exact <= initial <= exact + 1.5 * 10_000 + 2
    assert 0.8 * exact <= maintenance <= 0.8 * exact + 1.5 * 10_000 + 2


def test_a_hedged_book_costs_less_than_its_legs() -> None:
    bench = venue("segregated_pm")
    take(bench, 1, PERPETUAL, BUY, 200_000, 10_000)
    alone = requirement(bench, 1)
    take(bench, 1, LONG_FUTURE, SELL, 200_000, 10_000)
    hedged = requirement(bench, 1)
    # what stays is the roll of both expiries and the rounding unit per lot
    assert hedged < 0.15 * alone
    assert hedged >= 2 * 0.01 * world.COIN - 10


def test_a_long_option_never_costs_more_than_its_value_and_the_charges() -> None:
    bench = venue("segregated_pm")
    take(bench, 1, CALL, BUY, at_mark(bench, CALL), 30)
    view = bench.engine.positions(1)[0]
    _, initial, _ = bench.margins(1)
    charges = 0.01 * 30 * world.COIN // 10 + 30 * 2
    assert initial <= view.mark_value_minor + charges
    assert initial > 0.3 * view.mark_value_minor


def test_a_call_spread_costs_no_more_than_the_short_call() -> None:
    bench = venue("segregated_pm", "segregated_pm", coins=100)
    for account_id in (1, 2):
        take(bench, account_id, CALL, SELL, at_mark(bench, CALL), 20)
    short = requirement(bench, 1)
    take(bench, 2, PERPETUAL, BUY, 200_000, 5_000)
    assert requirement(bench, 2) < short


def test_open_orders_add_and_cancelling_gives_back_to_the_unit() -> None:
    bench = venue("segregated_pm", "cross_pm")
    for account_id in (1, 2):
        take(bench, account_id, PERPETUAL, BUY, 200_000, 5_000)
        before = bench.margins(account_id)
        orders = [(PERPETUAL, BUY, 190_000), (LONG_FUTURE, SELL, 210_000), (CALL, SELL, 800), (PUT, BUY, 500)]
        levels = [before[1]]
        for slot, side, price in orders:
            bench.place(account_id, slot, side, price, 20)
            levels.append(requirement(bench, account_id))
        assert levels == sorted(levels)
        assert levels[-1] > levels[0]
        assert bench.margins(account_id)[::2] == before[::2]
        for order in bench.engine.open_orders(account_id):
            bench.cancel(account_id, order.order_id)
        assert bench.margins(account_id) == before


@pytest.mark.parametrize("model", ["segregated_pm", "cross_pm"])
def test_open_orders_cover_every_subset_of_fills(model: str) -> None:
    """Excess with orders open is no more than the excess after any of them are filled at their limits."""
    orders = [
        (PERPETUAL, BUY, 196_000, 3_000), (PERPETUAL, SELL, 205_000, 4_000), (LONG_FUTURE, SELL, 202_000, 2_000),
        (CALL, SELL, 700, 9), (PUT, BUY, 1_300, 8),
    ]  # fmt: skip
    for chosen in itertools.product((False, True), repeat=len(orders)):
        bench = venue(model)
        take(bench, 1, PERPETUAL, BUY, 200_000, 2_500)
        take(bench, 1, CALL, SELL, at_mark(bench, CALL), 4)
        for slot, side, price, lots in orders:
            assert bench.place(1, slot, side, price, lots)[0].kind == EventKind.ORDER_ACCEPTED
        equity, initial, _ = bench.margins(1)
        for order in bench.engine.open_orders(1):
            bench.cancel(1, order.order_id)
        for (slot, side, price, lots), filled in zip(orders, chosen, strict=True):
            if filled:
                take(bench, 1, slot, side, price, lots)
        assert bench.engine.open_orders(1) == []
        filled_equity, filled_initial, _ = bench.margins(1)
        assert equity - initial <= filled_equity - filled_initial


def test_models_agree_with_the_naive_one_after_jumps() -> None:
    bench = venue("segregated_pm", "cross_pm")
    shadow = Shadow(bench.engine)
    for slot in bench.engine.instruments():
        shadow.listed(slot)
    for account_id in (1, 2, 3):
        bench.transfer(CommandKind.DEPOSIT, account_id, "ETH", 100 * world.COIN)
    for account_id in (1, 2):
        take(bench, account_id, PERPETUAL, BUY, 200_000, 2_000)
        take(bench, account_id, CALL, SELL, at_mark(bench, CALL), 5)
        take(bench, account_id, USDC_PUT, BUY, 9_000, 10)
        take(bench, account_id, ETH_PERPETUAL, SELL, 80_000, 100)
        bench.place(account_id, LONG_FUTURE, SELL, 201_000, 500)
    for index in (95_000.0, 110_000.0, 92_000.0):
        bench.time_ns += 10**9
        bench.marks(index, dict.fromkeys(FORWARDS, index * 1.01), VOLS)
        bench.marks(index / 25, underlying=1)
        for record in bench.records[-2:]:
            shadow.before(record)
            shadow.saw(record, [])
        assert shadow.faults() == []
        assert bench.engine.audit() == []


def test_a_withdrawal_that_would_bare_a_hedged_short_is_refused() -> None:
    """Coins hedge a synthetic short of ten: the equity above the requirement is not what may leave."""
    bench = venue("cross_pm")
    bench.transfer(CommandKind.WITHDRAW, 1, "USDC", 100_000 * world.DOLLAR)
    take(bench, 1, CALL, SELL, at_mark(bench, CALL), 100)
    take(bench, 1, PUT, BUY, at_mark(bench, PUT), 100)
    equity, initial, _ = bench.margins(1)
    most = bench.engine.account(1).currencies[0].withdrawable_minor
    # the naive figure: what the excess over the requirement buys, here all the cash
    naive = min((equity - initial) * world.COIN // (100_000 * 10**4), bench.engine.ledger_room.cash_of(1, 0))
    assert 0 < most < 0.99 * naive
    refused = bench.transfer(CommandKind.WITHDRAW, 1, "BTC", naive)
    assert reasons(refused) == [Reason.INSUFFICIENT_WITHDRAWABLE]
    assert reasons(bench.transfer(CommandKind.WITHDRAW, 1, "BTC", most)) == []
    equity, initial, _ = bench.margins(1)
    assert initial <= equity < 1.0001 * initial


@pytest.mark.parametrize("first", [False, True])
def test_the_lane_looks_at_orders_of_the_other_settlement_currency(first: bool) -> None:
    """Two orders that each turn a long position round are not both let in when funds are short."""
    bench = Bench(world.configuration())
    bench.account("long", "cross_pm", BTC=3 * world.COIN)
    bench.account("rich", BTC=1_000 * world.COIN, USDC=10**8 * world.DOLLAR)
    bench.marks(100_000.0, FORWARDS, VOLS)
    take(bench, 1, PERPETUAL, BUY, 200_000, 80_000)
    bench.time_ns += 10**9
    bench.marks(92_000.0, FORWARDS, VOLS)
    equity, initial, _ = bench.margins(1)
    assert equity < initial
    if first:
        (event,) = bench.place(1, PERPETUAL, SELL, 184_500, 80_000)
        assert event.flags == OrderFlag.RISK_REDUCING
    (event,) = bench.place(1, USDC_PERPETUAL, SELL, 184_500, 17_000)
    if first:
        assert reasons([event]) == [Reason.NOT_ENOUGH_FUNDS]
    else:
        assert event.flags == OrderFlag.RISK_REDUCING
