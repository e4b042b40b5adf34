"""Leases by joint stress: what the worst scenario costs, never a sum of worsts, against a naive recomputation."""

import pytest

from exchange import config
from exchange.commands import CommandKind
from exchange.config_checks import faults
from exchange.risk.stress import MOVES_PPM, VOLS
from tests.driver import COIN, DAY, START_NS, Driver, linear_perpetual, make_config, option, perpetual
from tests.oracles.stress import lot_change
from tests.unit.test_liquidation import grant, run

NAME, LINEAR = "BTC-PERPETUAL", "BTC_USDC-PERPETUAL"
EXPIRY = START_NS // DAY * DAY + 40 * DAY + 8 * 3_600 * 10**9
CAP_PPM = 500_000
PPM = 1_000_000
STRESS_PPM = 120_000


def venue(**liquidation):
    settings = {"lease_stress_ppm": STRESS_PPM, "insolvent_ns": 10**15, **liquidation}
    listed = [perpetual(), linear_perpetual(), option(100_000, "call", EXPIRY), option(90_000, "put", EXPIRY)]
    made = Driver(listed, make_config(liquidation=config.Liquidation(**settings)))
    made.marks(100_000)
    for name in ("BTC", "USDC"):
        made.cold(CommandKind.ENDOW_FUND, config.Transfer(name, 10**15))
    return made


def naive(made, leases):
    """{lease: what its account lacks at the worst scenario of all leases of its currency, coins}, textbook prices."""
    engine = made.engine
    rows = {}
    owners = {view.auction_id: view for view in engine.auctions()}
    index = engine.index_price(0) / 1e8
    for lease in leases:
        account = owners[lease.auction_id].account_id
        cross = engine.desk.is_cross(account)
        row = []
        for move in (ppm / 1e6 for ppm in MOVES_PPM if abs(ppm) <= STRESS_PPM):
            for vol in VOLS:
                worth = 0.0
                for view in engine.account(account).currencies:
                    if view.currency == "USDC" and (cross or lease.currency == "USDC"):
                        worth += view.equity_minor / 1e6
                    elif view.currency == "BTC" and (cross or lease.currency == "BTC"):
                        worth += view.equity_minor / COIN * index * (1 + move)
                for position in engine.positions(account):
                    if cross or engine.instrument(position.instrument).settlement == lease.currency:
                        worth += position.quantity_lots * lot_change(engine, position.instrument, move, vol)
                row.append(max(0.0, -worth) / (index * (1 + move) if lease.currency == "BTC" else 1.0))
        rows[lease.lease_id] = row
    found = {}
    for currency in {lease.currency for lease in leases}:
        mine = [lease.lease_id for lease in leases if lease.currency == currency]
        totals = [sum(column) for column in zip(*(rows[one] for one in mine), strict=True)]
        worst = totals.index(max(totals))
        found |= {one: rows[one][worst] for one in mine}
    return found, rows


def caps(made):
    """The compensation that each running auction may cost, coins."""
    units = {"BTC": COIN, "USDC": 10**6}
    return {
        view.lease_id: view.requirement_minor * CAP_PPM // PPM / units[view.lease_currency]
        for view in made.engine.auctions()
        if view.lease_id
    }


def requested(lease):
    return lease.requested_minor / {"BTC": COIN, "USDC": 10**6}[lease.currency]


def lacking_now(made):
    units = {"BTC": COIN, "USDC": 10**6}
    return {
        view.lease_id: max(0, -view.value_minor) / units[view.lease_currency]
        for view in made.engine.auctions()
        if view.lease_id
    }


def asked_anew(made, index):
    """All leases made to ask in one command: their wait is over."""
    for lease in made.engine.leases():
        grant(made, lease, amount=lease.granted_minor, exhausted=1)
    run(made, 31, index, step=31)
    return [lease for lease in made.engine.leases() if lease.state == "requested"]


def test_a_long_and_a_short_are_not_both_at_their_worst() -> None:
    made = venue()
    long, short = made.account("long", btc=1), made.account("short", btc=1)
    house = made.account("house", btc=500)
    made.trade(house, long, NAME, "buy", 200_000, 45_000)
    for index in (85_000, 70_000, 60_000, 56_000):
        run(made, 1, index)
    made.trade(house, short, NAME, "sell", 112_000, 22_000)
    for index in (62_000, 70_000, 79_000):
        run(made, 1, index)
    leases = asked_anew(made, 79_000)
    assert len(leases) == 2
    expected, rows = naive(made, leases)
    for lease in leases:
        now, cap = lacking_now(made)[lease.lease_id], caps(made)[lease.lease_id]
        assert requested(lease) == pytest.approx(max(now, expected[lease.lease_id]) + cap, rel=1e-4)
    assert sum(max(row) for row in rows.values()) > sum(expected.values())
    made.sound()


def test_random_books_are_sized_as_the_naive_recomputation(rng) -> None:
    sized = 0
    for _ in range(10):
        made = venue()
        house = made.account("house", btc=5_000, usdc=10**9)
        names = [made.engine.instrument(slot).name for slot in made.engine.instruments()]
        for number in range(8):
            model = ("segregated_pm", "cross_pm", "segregated_sm", "cross_sm")[number % 4]
            account = made.account(f"a{number}", btc=1, usdc=60_000, model=model)
            for name in rng.choice(names, 2, replace=False).tolist():
                slot = made.slot(name)
                mark = made.engine.market(slot).mark_price_e8 // made.engine.instrument(slot).price_unit_e8
                lots = {NAME: 25_000, LINEAR: 2_500}.get(name, 8)
                for tried in (lots, lots // 2, lots // 4):
                    made.place(house, name, "sell" if number % 2 else "buy", int(mark), tried)
                    made.place(account, name, "buy" if number % 2 else "sell", int(mark), tried)
        index = float(rng.choice((62_000, 70_000, 140_000)))
        made.marks(index, vol=0.7)
        run(made, 2, index)
        leases = asked_anew(made, index)
        if not leases:
            continue
        now, cap = lacking_now(made), caps(made)
        expected, rows = naive(made, leases)
        for lease in leases:
            total = max(now[lease.lease_id], expected[lease.lease_id]) + cap[lease.lease_id]
            assert requested(lease) == pytest.approx(total, rel=2e-3), (lease, rows[lease.lease_id])
            sized += expected[lease.lease_id] > now[lease.lease_id]
        made.sound()
    assert sized > 5


def test_without_stress_a_lease_is_what_is_lacking_now() -> None:
    made = venue(lease_stress_ppm=0)
    alice, bob = made.account("alice", btc=1), made.account("bob", btc=50)
    made.trade(bob, alice, NAME, "buy", 200_000, 45_000)
    run(made, 2, 75_000)
    (lease,), (auction,) = made.engine.leases(), made.engine.auctions()
    assert lease.requested_minor == pytest.approx(-auction.value_minor + auction.requirement_minor // 2, abs=2)


@pytest.mark.parametrize("ppm", [-1, 5_000_001])
def test_a_stress_out_of_range_is_refused(ppm) -> None:
    (fault,) = faults(make_config(liquidation=config.Liquidation(lease_stress_ppm=ppm)))
    assert "lease_stress_ppm" in fault
