"""Auto-deleveraging: only what nobody bought, at the marks, shifted by what the fund cannot carry, with receipts."""

import pytest

from exchange import config
from exchange.commands import CommandKind
from exchange.events import EventKind
from exchange.liquidation.deleveraging import shares
from exchange.reasons import Reason
from tests.driver import COIN, DAY, START_NS, USDC, Driver, linear_perpetual, make_config, only, option, perpetual
from tests.unit.test_liquidation import grant, run

NAME, LINEAR = "BTC-PERPETUAL", "BTC_USDC-PERPETUAL"
EXPIRY = START_NS // DAY * DAY + 40 * DAY + 8 * 3_600 * 10**9


def venue(fund_btc=0.0, **liquidation):
    made = Driver(
        [perpetual(), linear_perpetual(), option(100_000, "call", EXPIRY)],
        make_config(liquidation=config.Liquidation(**liquidation)),
    )
    made.marks(100_000)
    if fund_btc:
        made.cold(CommandKind.ENDOW_FUND, config.Transfer("BTC", round(fund_btc * COIN)))
    return made


def until_deleveraged(made, index, amount=None, seconds=140):
    """Ticks at an index, the fund answering at once with `amount` (None: whatever is asked)."""
    found = run(made, 2, index)
    asked = [lease for lease in made.engine.leases() if lease.state == "requested"]
    for lease in asked:
        given = lease.requested_minor if amount is None else amount
        found += grant(made, lease, given, exhausted=int(amount is not None))
    for _ in range(seconds // 5):
        found += run(made, 5, index, step=5)
        for lease in made.engine.leases():
            if lease.state == "requested":
                found += grant(made, lease, lease.granted_minor if amount is not None else lease.requested_minor, 1)
    return found


def receipts(found):
    return [e for e in found if e.kind == EventKind.POSITION_DELEVERAGED]


def equity(made, account, currency=0):
    return made.engine.account(account).currencies[currency].equity_minor


def test_what_the_fund_carries_costs_the_other_side_nothing() -> None:
    made = venue(fund_btc=5)
    alice, bob = made.account("alice", btc=1), made.account("bob", btc=50)
    made.trade(bob, alice, NAME, "buy", 200_000, 45_000)
    run(made, 1, 81_000)
    before = equity(made, bob)
    found = until_deleveraged(made, 81_000)
    (receipt,) = receipts(found)
    assert (receipt.account_id, receipt.from_account_id, receipt.quantity_lots) == (bob, alice, 45_000)
    assert (receipt.loss_minor, receipt.rank) == (0, 1)
    assert only(found, EventKind.AUCTION_CLOSED).reason == Reason.DELEVERAGED
    assert equity(made, bob) == before and made.engine.positions(bob) == made.engine.positions(alice) == []
    drawn = sum(e.amount_minor for e in found if e.kind == EventKind.FUND_DRAWN)
    assert equity(made, alice) == 0 and made.engine.ledger("BTC")["fund"] == 5 * COIN - drawn < 5 * COIN
    made.sound()


def test_an_unfunded_deficit_is_shared_to_the_unit() -> None:
    made = venue()
    alice = made.account("alice", btc=1, usdc=0)
    others = [made.account(name, btc=50) for name in ("bob", "carol", "dave")]
    for other, lots in zip(others, (20_000, 15_000, 10_000), strict=True):
        made.trade(other, alice, NAME, "buy", 200_000, lots)
    run(made, 1, 81_000)
    deficit, before = -equity(made, alice), [equity(made, a) for a in others]
    assert deficit > 0
    found = until_deleveraged(made, 81_000, amount=0)
    closed = receipts(found)
    assert sum(r.loss_minor for r in closed) == deficit
    assert equity(made, alice) == 0
    losses = {r.account_id: r.loss_minor for r in closed}
    assert [b - equity(made, a) for a, b in zip(others, before, strict=True)] == [losses[a] for a in others]
    for r in closed:
        assert r.loss_minor == pytest.approx(deficit * r.quantity_lots / 45_000, abs=1)
    assert made.engine.liquidation.deleveraging.loss_minor == {0: deficit}
    made.sound()


def test_the_most_leveraged_owner_goes_first_and_a_hedge_last() -> None:
    made = venue()
    alice = made.account("alice", btc=0.5)
    calm, tight = made.account("calm", btc=50), made.account("tight", btc=1)
    hedged = made.account("hedged", btc=0.3, usdc=20_000, model="cross_pm")
    maker = made.account("maker", btc=100, usdc=10**8)
    made.trade(maker, hedged, LINEAR, "buy", 1_000_000, 100)
    for account in (calm, tight, hedged):
        made.trade(account, alice, NAME, "buy", 200_000, 10_000 if account != hedged else 1_000)
    run(made, 1, 84_000)
    found = until_deleveraged(made, 78_000, amount=0)
    closed = receipts(found)
    assert [r.account_id for r in closed] == [tight, calm, hedged]
    assert [r.rank for r in closed] == [1, 2, 3]
    assert closed[0].leverage_ppm > closed[1].leverage_ppm
    assert closed[2].added_requirement_usd_e4 > 0 >= closed[1].added_requirement_usd_e4
    made.sound()


def test_the_owners_own_other_side_goes_before_everybody_else() -> None:
    made = venue()
    alice, twin = made.account("alice", btc=1, owner=77), made.account("twin", btc=50, owner=77)
    tight = made.account("tight", btc=1.5)
    made.trade(tight, alice, NAME, "buy", 200_000, 45_000)
    made.trade(twin, tight, NAME, "buy", 200_000, 20_000)
    found = until_deleveraged(made, 81_000, amount=0)
    closed = receipts(found)
    assert closed[0].account_id == twin and sum(r.quantity_lots for r in closed) == 45_000
    made.sound()


def test_options_and_several_legs_share_by_value() -> None:
    made = venue()
    call = f"BTC-{EXPIRY // DAY}-100000-C"
    alice, bob, carol = made.account("alice", btc=0.6), made.account("bob", btc=50), made.account("carol", btc=50)
    made.trade(bob, alice, NAME, "sell", 200_000, 20_000)
    mark = made.engine.market(made.slot(call)).mark_price_e8 // 10_000
    made.trade(carol, alice, call, "sell", mark, 5)
    run(made, 1, 118_000)
    run(made, 1, 140_000)
    deficit = -equity(made, alice)
    found = until_deleveraged(made, 140_000, amount=0)
    closed = receipts(found)
    assert {(r.account_id, r.quantity_lots) for r in closed} == {(bob, -20_000), (carol, -5)}
    # two minutes have passed: the option is worth a little less
    assert sum(r.loss_minor for r in closed) == pytest.approx(deficit, rel=1e-5)
    assert min(r.loss_minor for r in closed) > 0 and equity(made, alice) == 0
    made.sound()


def test_beyond_the_bound_nothing_is_done() -> None:
    made = venue(deleverage_shift_ppm=1_000)
    alice, bob = made.account("alice", btc=1), made.account("bob", btc=50)
    made.trade(bob, alice, NAME, "buy", 200_000, 45_000)
    run(made, 1, 81_000)
    found = until_deleveraged(made, 75_000, amount=0, seconds=300)
    assert receipts(found) == [] and made.engine.auctions()[0].reason in (
        Reason.FUND_EXHAUSTED,
        Reason.AWAITING_LEASE,
    )
    made.cold(CommandKind.ENDOW_FUND, config.Transfer("BTC", 5 * COIN))
    found = until_deleveraged(made, 75_000)
    assert len(receipts(found)) == 1 and made.engine.auctions() == []
    made.sound()


@pytest.mark.parametrize("model", ["cross_pm", "segregated_sm", "cross_sm"])
def test_every_model_ends_without_debt(model) -> None:
    made = venue()
    usdc = model.startswith("cross")
    alice = made.account("alice", btc=0 if usdc else 1, usdc=100_000 if usdc else 0, model=model)
    bob = made.account("bob", btc=50, usdc=10**7)
    name, units, lots = (LINEAR, 1_000_000, 4_500) if usdc else (NAME, 200_000, 45_000)
    made.trade(bob, alice, name, "buy", units, lots)
    run(made, 1, 81_000)
    run(made, 1, 75_000)
    found = until_deleveraged(made, 70_000, amount=0)
    assert len(receipts(found)) == 1
    account = made.engine.account(alice)
    assert not account.in_liquidation and account.equity_usd_e4 >= 0
    assert all(view.cash_minor >= 0 for view in account.currencies)
    assert sum(made.engine.ledger("USDC").values()) == 0
    made.sound()


def test_a_debt_beside_money_in_another_currency_is_settled_at_the_index() -> None:
    """Nobody buys, the fund is empty: what is left after the closing is one currency, nothing owed, and it ends."""
    made = venue()
    alice = made.account("alice", btc=1, usdc=0, model="cross_pm")
    bob = made.account("bob", btc=50, usdc=10**7)
    made.trade(bob, alice, LINEAR, "buy", 1_000_000, 4_000)
    run(made, 1, 81_000)
    found = until_deleveraged(made, 79_000, amount=0)
    debt, money = [e for e in found if e.kind == EventKind.BALANCE_CHANGED and e.account_id == alice]
    assert (debt.cause, money.cause, debt.currency, money.currency) == (18, 18, 0, 1)
    assert debt.amount_minor < 0 < money.amount_minor and debt.balance_minor == 0 <= money.balance_minor
    (receipt,) = receipts(found)
    fee = 200 * USDC
    assert receipt.loss_minor == 4_000 * 1_000 * 21_000 + fee - money.amount_minor
    assert not made.engine.account(alice).in_liquidation and made.engine.auctions() == []
    made.sound()


def test_without_positions_a_debt_is_settled_at_once_and_nothing_is_auctioned() -> None:
    """A debt in coin against dollars, the coin rising until the dollars no longer carry it."""
    made = venue()
    alice = made.account("alice", usdc=60_000, model="cross_pm")
    bob = made.account("bob", btc=50, usdc=10**7)
    made.trade(bob, alice, NAME, "sell", 200_000, 10_000)
    run(made, 1, 115_000)
    run(made, 1, 130_000)
    made.trade(bob, alice, NAME, "buy", 260_000, 10_000)
    assert made.engine.positions(alice) == []
    found = [event for index in range(132_000, 260_000, 2_000) for event in run(made, 1, index)]
    assert only(found, EventKind.LIQUIDATION_ENDED).reason == Reason.RESTORED
    assert [e for e in found if e.kind == EventKind.AUCTION_OPENED] == []
    coin, dollars = made.engine.account(alice).currencies
    assert coin.cash_minor == 0 < dollars.cash_minor and made.engine.ledger("BTC")["accounts"] != 0
    debt, money = [e for e in found if e.kind == EventKind.BALANCE_CHANGED]
    assert debt.amount_minor > 0 > money.amount_minor and money.balance_minor == dollars.cash_minor
    made.sound()


def test_shares_sum_exactly() -> None:
    assert shares(10, [1, 1, 1]) == [3, 3, 4]
    assert sum(shares(10**15 + 7, [3, 0, 10**12, 7])) == 10**15 + 7
