"""Memory of scenario books: what an account has in a chain, and what the figures of its open orders add."""

import random

from exchange import commands, config
from exchange.commands import CommandKind
from exchange.config import Limits
from exchange.engine import Engine
from tests.oracles import world
from tests.oracles.bench import BUY, SELL, Bench, Event

PERPETUAL = 0
BOOK_BYTES = 768
ORDERS_BYTES = 832
BANDS_BYTES = 41
"""What safe bands take at most, an account and underlying."""
TABLE_BYTES = 256 * 6 * 8
"""A pointer an account and chain."""
SEATED_LEAST, SEATED_SHARE = 256, 8
MEMBERS = 2_400


def venue(accounts: int) -> Bench:
    bench = Bench(world.configuration(limits=Limits(max_accounts=accounts + 10, max_instruments=64)))
    bench.marks(100_000.0)
    return bench


def test_order_figures_take_memory_only_while_orders_are_open() -> None:
    bench = venue(200)
    members = [bench.account(f"m{number}", "segregated_pm", BTC=100 * world.COIN) for number in range(71)]
    memory = bench.engine.exposure.memory
    for account_id in members[:60]:
        bench.place(account_id, PERPETUAL, BUY, 150_000, 10)
    blocks, total = memory()
    assert blocks == {"books": (60, BOOK_BYTES), "orders": (60, ORDERS_BYTES)}
    assert total == 64 * (BOOK_BYTES + ORDERS_BYTES) + TABLE_BYTES
    for account_id in members[:60]:
        for order in bench.engine.open_orders(account_id):
            bench.cancel(account_id, order.order_id)
    assert memory() == ({"books": (60, BOOK_BYTES), "orders": (0, ORDERS_BYTES)}, total)
    # what the first gave back serves the others, whose second order needs no more
    for account_id in members[10:70]:
        for price in (150_000, 151_000):
            bench.place(account_id, PERPETUAL, BUY, price, 10)
    blocks, total = memory()
    assert (blocks["books"][0], blocks["orders"][0]) == (70, 60)
    assert total == 96 * BOOK_BYTES + 64 * ORDERS_BYTES + TABLE_BYTES


def test_books_that_all_have_orders_stay_under_a_kibibyte() -> None:
    bench = venue(MEMBERS)
    exposure = bench.engine.exposure
    members = [bench.account(f"m{number}", "segregated_pm", BTC=100 * world.COIN) for number in range(MEMBERS)]
    for turn in range(2):
        for account_id in members:
            bench.place(account_id, PERPETUAL, BUY, 150_000 + turn, 10 + account_id % 7)
    blocks, total = exposure.memory()
    assert blocks["books"] == (MEMBERS, BOOK_BYTES)
    assert blocks["orders"] == (MEMBERS // SEATED_SHARE, ORDERS_BYTES)
    # the table of pointers holds 4,096 accounts
    assert total / MEMBERS + BANDS_BYTES <= 1_024
    margins = {account_id: exposure.margins(account_id, 0) for account_id in members}
    assert exposure.given_up > 2 * MEMBERS
    exposure.seated_least = MEMBERS
    given_up = exposure.given_up
    for account_id in members:
        exposure.forget_orders(account_id, 0)
        assert exposure.margins(account_id, 0) == margins[account_id]
        assert exposure.margins(account_id, 0)[1] > 0
    assert exposure.given_up == given_up


def all_marks(bench: Bench, index: float) -> list[Event]:
    """Every instrument of the venue gets a mark."""
    views = [bench.engine.instrument(slot) for slot in bench.engine.instruments()]
    forwards = {view.expiry_ns: index for view in views if view.expiry_ns}
    vols = {slot: 0.6 for slot, _, _ in bench.engine.pairs(0)}
    return bench.marks(index, forwards, vols) + bench.marks(index / 25, underlying=1)


def test_whose_figures_are_kept_changes_none_of_them() -> None:
    few, many = venue(20), venue(20)
    few.engine.exposure.seated_least = 0
    members = []
    for bench in (few, many):
        members = [
            bench.account(f"m{number}", "cross_pm" if number % 3 else "segregated_pm", BTC=5 * world.COIN, USDC=10**12)
            for number in range(20)
        ]
        all_marks(bench, 100_000.0)
    slots = list(few.engine.instruments())
    rng = random.Random(5)
    for step in range(1_500):
        if step % 100 == 99:
            index = 100_000.0 + rng.randrange(-500, 500)
            assert all_marks(few, index) == all_marks(many, index)
        account_id = rng.choice(members)
        mine = few.engine.open_orders(account_id)
        if mine and rng.random() < 0.3:
            order_id = rng.choice(mine).order_id
            assert few.cancel(account_id, order_id) == many.cancel(account_id, order_id)
            continue
        slot = rng.choice(slots)
        unit = few.engine.market(slot).mark_price_e8 // few.engine.instrument(slot).price_unit_e8
        price = max(1, round(unit * rng.uniform(0.97, 1.03)))
        terms = (account_id, slot, BUY if rng.random() < 0.5 else SELL, price, rng.randrange(1, 40))
        assert few.place(*terms) == many.place(*terms)
        for bench in (few, many) if step % 50 == 0 else ():
            assert not bench.engine.audit()
    assert few.engine.exposure.given_up > 500
    assert many.engine.exposure.given_up == 0
    for account_id in members:
        for chain in range(6):
            totals = [bench.engine.exposure.scenario_totals(account_id, chain, True) for bench in (few, many)]
            assert totals[0] == totals[1]
    assert few.engine.state_digest() == many.engine.state_digest()


def test_a_supposed_order_counts_once_whoever_else_wants_its_block() -> None:
    """It is in no pool: figures made anew meanwhile would lack it, and it would be taken off them all the same."""
    bench = venue(40)
    engine = bench.engine
    engine.exposure.seated_least = 0
    all_marks(bench, 100_000.0)
    holder = bench.account("holder", "segregated_pm", BTC=100 * world.COIN, ETH=100 * world.COIN, USDC=10**13)

    def near(slot: int, share: float) -> int:
        return round(engine.market(slot).mark_price_e8 / engine.instrument(slot).price_unit_e8 * share) // 10 * 10

    slots = [slot for slot in engine.instruments() if engine.instrument(slot).kind in ("perpetual", "future")]
    isolated = slots[1:4]
    for slot in isolated:
        terms = config.SetMarginMode(instrument=engine.instrument(slot).name, mode="isolated", leverage_e2=300)
        bench.send(commands.cold(CommandKind.SET_MARGIN_MODE, terms, holder))
        bench.place(holder, slot, BUY, near(slot, 0.98), 10)
    buckets = [engine.bucket_of(holder, slot) for slot in isolated]
    others = [bench.account(f"o{number}", "segregated_pm", BTC=100 * world.COIN) for number in range(30)]
    for account_id in (holder, *others):
        bench.place(account_id, PERPETUAL, BUY, near(PERPETUAL, 0.99), 10)
    rng = random.Random(1)

    def figures() -> list[object]:
        return [engine.exposure.margins(one, currency) for one in (holder, *buckets) for currency in range(3)]

    before, given_up, tables = figures(), engine.exposure.given_up, set()
    for _ in range(60):
        for account_id in rng.sample(others, rng.randrange(len(others))):
            engine.exposure.margins(account_id, 0)
        table = engine.what_if.order_table(holder, PERPETUAL, BUY, near(PERPETUAL, 0.99), 20_000)
        tables.add(tuple(one["initial"] for one in table["entities"]))
        for bucket, slot in zip(buckets, isolated, strict=True):
            assert engine.what_if.order_table(bucket, slot, BUY, near(slot, 1.004), 1_000)
            assert engine.what_if.order_margin(bucket, slot, BUY, near(slot, 1.004), 1_000) >= 0
        assert figures() == before
        assert not engine.audit()
    assert engine.exposure.given_up > given_up + 60
    assert len(tables) == 1 and max(tables)[0] > before[0][1]
    replayed = Engine()
    replayed.apply_many(b"".join(bench.records))
    assert replayed.state_digest() == engine.state_digest()
