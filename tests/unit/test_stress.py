"""Stress reads against a naive recomputation: liquidation map, deficits, Cover-2 and reverse stress."""

import pytest

from exchange import config
from exchange.commands import CommandKind
from exchange.risk.stress import MOVES_PPM, VOLS, Stress, cover_two, reverse
from tests.driver import DAY, START_NS, Driver, linear_perpetual, make_config, option, perpetual
from tests.oracles import stress as oracle

EXPIRY = START_NS // DAY * DAY + 40 * DAY + 8 * 3_600 * 10**9
MODELS = ("segregated_pm", "cross_pm", "segregated_sm", "cross_sm")


def stress(engine):
    return Stress(engine.accounts, engine.listing, engine.positions_room, engine.rows, engine.exposure)


def swept(engine, step=1_000):
    found = stress(engine)
    while not found.visit(step):
        pass
    return found.result()


def crowd(rng):
    """A dozen accounts of every model and some shared owners, in perpetuals of both kinds and options."""
    venue = Driver([perpetual(), linear_perpetual(), *(option(k, s, EXPIRY) for k in (90_000, 110_000)
                                                       for s in ("call", "put"))], make_config())  # fmt: skip
    venue.marks(100_000, vol=0.6, forward=100_400)
    house = venue.account("house", btc=2_000, usdc=10**8)
    names = [venue.engine.instrument(slot).name for slot in venue.engine.instruments()]
    for number in range(12):
        owner = 0 if number % 3 else 2
        account = venue.account(f"a{number}", btc=2, usdc=200_000, model=MODELS[number % 4], owner=owner)
        for name in rng.choice(names, 3, replace=False).tolist():
            slot = venue.slot(name)
            mark = venue.engine.market(slot).mark_price_e8 // venue.engine.instrument(slot).price_unit_e8
            lots = {"BTC-PERPETUAL": 9_000, "BTC_USDC-PERPETUAL": 900}.get(name, 6)
            side = "buy" if rng.random() < 0.5 else "sell"
            venue.trade(house, account, name, side, int(mark), int(rng.integers(1, lots)))
    isolate(venue, house, rng)
    venue.marks(96_000, vol=0.7, forward=96_300)
    return venue


def isolate(venue, house, rng):
    """Isolated perpetuals of a few owners, on both sides and of several sizes."""
    first = 0
    for number in range(8):
        account = venue.account(f"i{number}", btc=2, usdc=200_000, owner=first if number % 2 else 0)
        first = first or account
        for name, units, most in (("BTC-PERPETUAL", 200_000, 9_000), ("BTC_USDC-PERPETUAL", 1_000_000, 900)):
            payload = config.SetMarginMode(name, "isolated", int(rng.choice((500, 1_000, 4_000))))
            venue.cold(CommandKind.SET_MARGIN_MODE, payload, account)
            side = "buy" if rng.random() < 0.5 else "sell"
            venue.trade(house, account, name, side, units, int(rng.integers(most // 10, most)))


def test_opposite_buckets_of_an_owner_bear_what_one_lacks() -> None:
    venue = Driver([perpetual()])
    venue.marks(100_000)
    bob = venue.account("bob", btc=1_000)
    long, short, stranger = (venue.account(name, btc=10, owner=own) for name, own in (("l", 0), ("s", 2), ("x", 0)))
    zero = {}
    for account, side, lots in ((long, "buy", 10_000), (short, "sell", 4_000), (stranger, "sell", 10_000)):
        venue.cold(CommandKind.SET_MARGIN_MODE, config.SetMarginMode("BTC-PERPETUAL", "isolated", 1_000), account)
        at = 2 * MOVES_PPM.index(-200_000)
        zero[account] = swept(venue.engine)[1][0]["deficit"][at]
        venue.trade(bob, account, "BTC-PERPETUAL", side, 200_000, lots)
    assert venue.engine.account(short).owner_id == venue.engine.account(long).owner_id
    alone, after = zero[short], swept(venue.engine)[1][0]["deficit"][at]
    # a coin long at 10x: 0.1 coins at 80,000 less 20,000; four tenths of it are closed against the short
    assert alone == pytest.approx((20_000 - 8_000) * 10_000, rel=1e-3)
    assert after == pytest.approx(alone * 0.6, rel=1e-3)


def test_every_figure_is_that_of_the_naive_recomputation(rng) -> None:
    venue = crowd(rng)
    _, sets = swept(venue.engine)
    expected = oracle.figures(venue.engine)
    found = {}
    for chosen, figures in zip(("BTC", "all"), sets, strict=True):
        for place, ppm in enumerate(MOVES_PPM):
            for vol, name in enumerate(VOLS):
                at = 2 * place + vol
                found[chosen, ppm, name] = tuple(
                    figures[what][at] / 1e4 for what in ("below", "deficit", "largest_two")
                )
    assert found.keys() == expected.keys()
    for key, figures in expected.items():
        assert found[key] == pytest.approx(figures, rel=1e-6, abs=30.0), key
    assert max(figures[1] for figures in expected.values()) > 0


def test_a_sweep_in_slices_is_the_sweep_at_once_and_changes_nothing(rng) -> None:
    venue = crowd(rng)
    before = venue.engine.state_digest()
    assert swept(venue.engine, 1) == swept(venue.engine, 3) == swept(venue.engine)
    assert venue.engine.state_digest() == before
    venue.sound()


def test_today_is_the_account_below_maintenance(rng) -> None:
    venue = Driver([perpetual()])
    venue.marks(100_000)
    alice, bob = venue.account("alice", btc=1), venue.account("bob", btc=50)
    venue.trade(bob, alice, "BTC-PERPETUAL", "buy", 200_000, 40_000)
    zero = 2 * MOVES_PPM.index(0)
    assert swept(venue.engine)[1][0]["below"][zero] == 0
    venue.marks(90_000)
    assert venue.engine.counters().below_maintenance == 1
    notional, (alone, joint) = swept(venue.engine)
    assert notional == 2 * 400_000 * 10_000
    assert alone["below"][zero] == joint["below"][zero] == 400_000 * 10_000


@pytest.mark.parametrize("model", ["segregated_sm", "cross_sm"])
def test_who_falls_below_is_who_does_where_the_marks_move(model) -> None:
    """Accounts that hold coin options and little else: their balances after marks that really move, against the
    maintenance margin of before. An option's coins are no part of a formula account's balance, nor is the index's
    move on them."""

    def crowded():
        venue = Driver([perpetual(), option(100_000, "call", EXPIRY)], make_config())
        venue.marks(100_000, vol=0.6)
        house = venue.account("house", btc=1_000)
        own = []
        for number in range(12):
            own.append(venue.account(f"a{number}", btc=0.5 + 0.015 * number, model=model))
            call = venue.slot(venue.engine.instrument(1).name)
            units = venue.engine.market(call).mark_price_e8 // venue.engine.instrument(call).price_unit_e8
            venue.trade(house, own[-1], venue.engine.instrument(call).name, "buy", int(units), 60)
            venue.trade(house, own[-1], "BTC-PERPETUAL", "buy", 200_000, 3_000)
        return venue, own

    venue, own = crowded()
    entity = 0
    price = 100_000 / 10**10 if model.startswith("segregated") else 1e-4
    keep = {a: venue.engine.exposure.margins(a, entity)[2] * price for a in own}
    size = 60 * venue.engine.instrument(1).lot_size_e8 / 1e8 * 100_000 + 30_000
    _, (alone, _) = swept(venue.engine)
    seen = set()
    for ppm in (-330_000, -250_000, -160_000, -90_000, -40_000, 0, 60_000, 160_000):
        moved, own = crowded()
        index = 100_000 * (1_000_000 + ppm) // 1_000_000
        moved.marks(index, vol=0.6)
        moved.marks(index, vol=0.6)
        unit = index / 10**10 if model.startswith("segregated") else 1e-4
        balance = {a: moved.engine.exposure.margins(a, entity)[0] * unit for a in own}
        below = [a for a in own if balance[a] < keep[a]]
        assert alone["below"][2 * MOVES_PPM.index(ppm)] / 1e4 == pytest.approx(len(below) * size), ppm
        seen.add(len(below))
    assert len(seen) > 2


def test_cover_two_takes_the_two_largest_owners_and_reverse_stress_the_smallest_move() -> None:
    venue = Driver([perpetual()])
    venue.marks(100_000)
    bob = venue.account("bob", btc=100)
    first = venue.account("first", btc=1)
    # 1 BTC against 4 coins long: empty at -20 %, short of 3 coins' worth of a further fall
    for name, owner in (("first", 0), ("sibling", first), ("third", 0), ("fourth", 0)):
        account = first if name == "first" else venue.account(name, btc=1, owner=owner)
        venue.trade(bob, account, "BTC-PERPETUAL", "buy", 200_000, 40_000)
    _, (alone, _) = swept(venue.engine)
    worst, column = cover_two(alone)
    assert MOVES_PPM[column // 2] == -900_000
    assert worst * 4 == pytest.approx(alone["deficit"][column] * 3)
    at = 2 * MOVES_PPM.index(-330_000)
    # a coin and 400,000 USD of an inverse long: 100,000 x 0.67 - 400,000 x 0.33, less a fee of 0.002 coins
    assert alone["deficit"][at] == pytest.approx(4 * 65_134 * 10_000, rel=1e-3)
    assert alone["largest_two"][at] == pytest.approx(3 * 65_134 * 10_000, rel=1e-3)
    assert reverse(alone, 4 * 65_200 * 10_000)["same"] == -400_000
    assert reverse(alone, 4 * 65_000 * 10_000)["same"] == -330_000
    assert reverse(alone, 10**18) == {"same": None, "up": None}
