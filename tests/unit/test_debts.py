"""Debts of cross accounts: interest by the hour, conversion above a limit, at the index and a spread."""

import pytest

from exchange import config
from exchange.commands import CommandKind
from exchange.config_checks import faults
from exchange.engine import Engine
from exchange.events import BalanceCause, EventKind
from tests.driver import COIN, SECOND, USDC, Driver, linear_perpetual, make_config

NAME = "BTC_USDC-PERPETUAL"
HOUR = 3_600 * SECOND
FREE = config.Fees(maker_ppm=0, taker_ppm=0)


def venue(**terms):
    """A venue with a debtor that has 1 BTC and owes 1,000 USDC, and the one who won them."""
    currencies = (config.Currency("BTC", 10, underlying="BTC"), config.Currency("USDC", 6, **terms))
    made = Driver([linear_perpetual(fees=FREE)], make_config(currencies=currencies))
    made.marks(100_000)
    made.tick()
    debtor = made.account("debtor", btc=1, model="cross_pm")
    other = made.account("other", usdc=1_000_000, model="cross_pm")
    made.trade(other, debtor, NAME, "buy", 1_000_000, 1_000)
    made.marks(99_000)
    made.trade(other, debtor, NAME, "sell", 990_000, 1_000)
    assert made.cash(debtor, 1) == -1_000 * USDC
    return made, debtor


def changes(found):
    return [
        (BalanceCause(e.cause), e.currency, e.amount_minor, e.balance_minor)
        for e in found
        if e.kind == EventKind.BALANCE_CHANGED
    ]


def test_by_default_debts_stay() -> None:
    made, debtor = venue()
    made.marks(99_000)
    assert changes(made.tick(100 * HOUR)) == []
    assert made.cash(debtor, 1) == -1_000 * USDC
    made.sound()


def test_interest_comes_at_full_hours_rounded_up_to_the_fees() -> None:
    made, _ = venue(debt_interest_ppm=100_000)
    to_the_hour = HOUR - made.now % HOUR
    assert changes(made.tick(to_the_hour - 1)) == []
    due = -(-1_000 * USDC * 100_000 // (10**6 * 8_760))
    assert changes(made.tick(1)) == [(BalanceCause.INTEREST, 1, -due, -1_000 * USDC - due)]
    assert changes(made.tick(HOUR - 1)) == []
    assert made.engine.ledger("USDC")["fees"] == due
    # hours that a venue was down for are charged together
    (told,) = changes(made.tick(3 * HOUR))
    assert told[2] == -(1_000 * USDC + due) * 100_000 * 3 // (10**6 * 8_760)
    made.sound()


def test_a_debt_above_the_limit_is_bought_at_the_index_and_a_spread() -> None:
    made, _ = venue(debt_limit_minor=1_000 * USDC - 1, conversion_spread_ppm=2_000)
    made.marks(100_000)
    spent, spread = COIN // 100, COIN // 100 * 2_000 // 10**6
    assert changes(made.tick()) == [
        (BalanceCause.CONVERSION, 0, -spent - spread, COIN - spent - spread),
        (BalanceCause.CONVERSION, 1, 1_000 * USDC, 0),
    ]
    assert made.engine.ledger("BTC")["fees"] == spread
    assert changes(made.tick()) == []
    made.sound()


def test_a_debt_at_the_limit_stays_and_so_does_one_without_a_fresh_index() -> None:
    made, _ = venue(debt_limit_minor=1_000 * USDC)
    made.marks(100_000)
    assert changes(made.tick()) == []
    made, debtor = venue(debt_limit_minor=1)
    assert changes(made.tick(24 * HOUR)) == []
    made.marks(100_000)
    assert len(changes(made.tick())) == 2
    assert made.cash(debtor, 1) == 0


def test_what_an_account_has_is_all_that_is_spent() -> None:
    made, debtor = venue(debt_limit_minor=1, conversion_spread_ppm=2_000)
    made.cold(CommandKind.WITHDRAW, config.Transfer("BTC", COIN * 98 // 100), debtor)
    left = made.cash(debtor)
    assert left == COIN // 50
    for price in (84_000, 70_000, 60_000, 52_000, 48_000):  # 0.02 BTC are 960 USDC then, the debt is 1,000
        made.marks(price)
    spent = left * 10**6 // 1_002_000
    bought = spent * 48_000 * USDC // COIN
    told = changes(made.tick())
    assert told[0] == (BalanceCause.CONVERSION, 0, -left, 0)
    assert 0 <= bought - told[1][2] <= 1
    assert told[1][3] == -1_000 * USDC + told[1][2]
    made.sound()


def test_accounts_in_liquidation_are_left_to_it() -> None:
    made, debtor = venue(debt_limit_minor=2_000 * USDC, debt_interest_ppm=100_000)
    made.cold(CommandKind.WITHDRAW, config.Transfer("BTC", COIN * 90 // 100), debtor)
    other = made.account("third", usdc=1_000_000, model="cross_pm")
    made.trade(other, debtor, NAME, "buy", 990_000, 200)
    for price in (84_000, 70_000):
        made.marks(price)
    started = [e.kind for e in made.tick(SECOND)]
    assert EventKind.LIQUIDATION_STARTED in started and EventKind.AUCTION_OPENED in started
    made.marks(70_000)
    assert changes(made.tick(HOUR)) == []
    assert made.cash(debtor, 1) == -1_000 * USDC


def test_replayed_hours_are_the_same() -> None:
    made, _ = venue(debt_limit_minor=500 * USDC, debt_interest_ppm=500_000, conversion_spread_ppm=1)
    for price in (99_000, 98_000):
        made.marks(price)
        made.tick(HOUR)
    again = Engine()
    for record in made.journal.records:
        again.apply(record)
    assert again.state_digest() == made.engine.state_digest()


@pytest.mark.parametrize(
    "terms", [{"debt_interest_ppm": -1}, {"debt_interest_ppm": 10_000_001}, {"conversion_spread_ppm": 1_000_000},
              {"debt_limit_minor": -1}],
)  # fmt: skip
def test_terms_out_of_range_are_refused(terms: dict[str, int]) -> None:
    currencies = (config.Currency("BTC", 10, underlying="BTC"), config.Currency("USDC", 6, **terms))
    assert len(faults(make_config(currencies=currencies))) == 1
