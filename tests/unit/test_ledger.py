"""The double-entry ledger: both legs of everything, bounds, and what cold commands refuse."""

import pytest

from exchange.clearing.ledger import SYSTEM_NAMES, Ledger
from exchange.commands import CommandKind
from exchange.events import BalanceCause, EventKind
from exchange.reasons import Reason
from tests.oracles import world
from tests.oracles.bench import BUY, SELL, Bench, only, reasons

OUTSIDE, FEES, FUND = (SYSTEM_NAMES.index(name) for name in ("outside", "fees", "fund"))


def test_every_movement_has_two_legs() -> None:
    ledger = Ledger(2, 4, 1_000_000)
    ledger.transfer_system(OUTSIDE, 1, 0, 700)
    ledger.transfer(1, 2, 0, 300)
    ledger.transfer_system(FEES, 2, 0, -25)
    ledger.move_system(OUTSIDE, FUND, 1, 90)
    assert [ledger.cash_of(account, 0) for account in (1, 2)] == [400, 275]
    first, second = ledger.sums(0, range(4)), ledger.sums(1, range(4))
    assert first == {
        "outside": -700, "fees": 25, "funding": 0, "rounding": 0, "fund": 0, "capital": 0,
        "clearing": 0, "accounts": 675,
    }  # fmt: skip
    assert sum(first.values()) == sum(second.values()) == 0
    assert (second["outside"], second["fund"]) == (-90, 90)


def test_currencies_do_not_mix() -> None:
    ledger = Ledger(3, 1, 1_000)
    ledger.transfer_system(OUTSIDE, 7, 2, 5)
    assert [ledger.cash_of(7, c) for c in range(3)] == [0, 0, 5]
    assert ledger.system_of(OUTSIDE, 2) == -5
    assert ledger.system_of(OUTSIDE, 1) == 0


@pytest.fixture
def bench() -> Bench:
    bench = Bench(world.configuration())
    bench.account("one", BTC=world.COIN, USDC=50_000 * world.DOLLAR)
    bench.account("two", BTC=world.COIN, USDC=50_000 * world.DOLLAR)
    bench.marks(100_000.0)
    return bench


def test_deposits_and_withdrawals_are_events_with_balances(bench: Bench) -> None:
    happened = bench.transfer(CommandKind.DEPOSIT, 1, "USDC", 70)
    (event,) = only(happened, EventKind.BALANCE_CHANGED)
    assert (event.amount_minor, event.balance_minor) == (70, 50_000 * world.DOLLAR + 70)
    assert event.cause == BalanceCause.DEPOSIT
    happened = bench.transfer(CommandKind.WITHDRAW, 1, "USDC", 50_000 * world.DOLLAR + 70)
    assert only(happened, EventKind.BALANCE_CHANGED)[0].balance_minor == 0
    assert bench.engine.ledger("USDC")["outside"] == -50_000 * world.DOLLAR


@pytest.mark.parametrize(
    ("kind", "account_id", "currency", "amount", "reason"),
    [
        (CommandKind.DEPOSIT, 1, "XRP", 1, Reason.UNKNOWN_CURRENCY),
        (CommandKind.DEPOSIT, 9, "BTC", 1, Reason.UNKNOWN_ACCOUNT),
        (CommandKind.DEPOSIT, 1, "BTC", 0, Reason.AMOUNT_NOT_POSITIVE),
        (CommandKind.DEPOSIT, 1, "BTC", -1, Reason.AMOUNT_NOT_POSITIVE),
        (CommandKind.DEPOSIT, 1, "BTC", (1 << 59) + 1, Reason.AMOUNT_TOO_LARGE),
        (CommandKind.DEPOSIT, 1, "BTC", 1 << 59, Reason.AMOUNT_TOO_LARGE),
        (CommandKind.WITHDRAW, 1, "BTC", world.COIN + 1, Reason.INSUFFICIENT_WITHDRAWABLE),
        (CommandKind.ENDOW_FUND, 0, "BTC", 0, Reason.AMOUNT_NOT_POSITIVE),
    ],
)
def test_refused_movements_move_nothing(
    bench: Bench, kind: CommandKind, account_id: int, currency: str, amount: int, reason: Reason
) -> None:
    before = bench.engine.ledger("BTC")
    assert reasons(bench.transfer(kind, account_id, currency, amount)) == [reason]
    assert bench.engine.ledger("BTC") == before


def test_margin_in_use_cannot_be_withdrawn(bench: Bench) -> None:
    bench.place(1, 0, BUY, 200_000, 4_000)
    bench.place(2, 0, SELL, 200_000, 4_000)
    equity, initial, _ = bench.margins(1, 0)
    free = equity - initial
    assert 0 < free < world.COIN
    refused = bench.transfer(CommandKind.WITHDRAW, 1, "BTC", free + 1)
    assert reasons(refused) == [Reason.INSUFFICIENT_WITHDRAWABLE]
    assert refused[0].detail == free
    assert only(bench.transfer(CommandKind.WITHDRAW, 1, "BTC", free), EventKind.BALANCE_CHANGED)
    equity, initial, _ = bench.margins(1, 0)
    assert equity == initial


def test_the_fund_is_endowed_from_outside(bench: Bench) -> None:
    bench.transfer(CommandKind.ENDOW_FUND, 0, "USDC", 1_234)
    ledger = bench.engine.ledger("USDC")
    assert ledger["fund"] == 1_234
    assert sum(ledger.values()) == 0


def test_fees_are_a_clearing_account_too(bench: Bench) -> None:
    bench.place(1, 0, BUY, 200_000, 1_000)
    (trade,) = only(bench.place(2, 0, SELL, 200_000, 1_000), EventKind.TRADE_EXECUTED)
    # 10,000 USD at 100,000 is 0.1 BTC; the taker pays 5 bp of it, the maker nothing
    assert (trade.taker_fee_minor, trade.maker_fee_minor) == (world.COIN // 10 // 2_000, 0)
    assert bench.engine.ledger("BTC")["fees"] == trade.taker_fee_minor
    assert sum(bench.engine.ledger("BTC").values()) == 0
