"""Memory of scenario books: what an account has in a chain, and what its open orders add while there are any."""

from exchange.config import Limits
from tests.oracles import world
from tests.oracles.bench import BUY, Bench

PERPETUAL = 0
BOOK_BYTES = 768
ORDERS_BYTES = 832
BANDS_BYTES = 41
"""What safe bands take at most, an account and underlying."""
TABLE_BYTES = 256 * 6 * 8
"""A pointer an account and chain."""


def test_a_book_stays_under_a_kibibyte_and_orders_cost_only_while_open() -> None:
    bench = Bench(world.configuration(limits=Limits(max_accounts=200, max_instruments=64)))
    members = [bench.account(f"m{number}", "segregated_pm", BTC=100 * world.COIN) for number in range(71)]
    memory = bench.engine.exposure.memory
    bench.marks(100_000.0)
    for account_id in members[:60]:
        bench.place(account_id, PERPETUAL, BUY, 150_000, 10)
    blocks, total = memory()
    assert blocks == {"books": (60, BOOK_BYTES), "orders": (60, ORDERS_BYTES)}
    assert total == 64 * (BOOK_BYTES + ORDERS_BYTES) + TABLE_BYTES
    assert BOOK_BYTES + BANDS_BYTES + TABLE_BYTES / 256 <= 1_024
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
