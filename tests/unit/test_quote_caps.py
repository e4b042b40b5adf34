"""Initial margin of a group's quotes: no more than its protection lets through."""

import random

import pytest

from exchange.events import EventKind
from exchange.reasons import Reason
from tests.driver import DAY, START_NS, Driver, future, linear_perpetual, only, option, perpetual
from tests.quoting import COINS, entry, in_group, mass_quote, protect

NEAR, FAR = START_NS + 20 * DAY, START_NS + 60 * DAY
STRIKES = (80_000, 100_000, 120_000)
OPTIONS = [option(k, t, e) for k in STRIKES for t in ("call", "put") for e in (NEAR, FAR)]
LINEAR = [option(k, "call", NEAR, "USDC", max_price_units=1_000_000) for k in STRIKES]
NAMES = [o.name for o in OPTIONS]
MODELS = ("segregated_pm", "cross_pm")


def make(model="segregated_pm"):
    venue = Driver([perpetual(), future(NEAR), linear_perpetual(), *OPTIONS, *LINEAR])
    venue.maker = venue.account("maker", btc=40, usdc=3_000_000, model=model)
    venue.taker = venue.account("taker", btc=4_000, usdc=300_000_000)
    venue.marks(100_000)
    return venue


def quotes(venue, names, lots=100):
    """Entries around the marks on both sides."""
    out = []
    for name in names:
        row = venue.engine.instrument(venue.slot(name))
        mark = venue.engine.market(venue.slot(name)).mark_price_e8 // row.price_unit_e8
        out.append(entry(venue, name, (max(5, mark // 5 * 5 - 5), lots), (mark // 5 * 5 + 10, lots)))
    return out


def initial(venue, currency=0):
    return venue.engine.exposure.margins(venue.maker, currency)[1]


def worst_per_coin(venue, currency, usd):
    """The naive twin: per column the largest |row| of a coin over the chain's instruments, and of its delta."""
    engine = venue.engine
    chain = next(
        engine.instrument(s)
        for s in engine.instruments()
        if engine.instrument(s).settlement == ("BTC", "USDC")[currency]
    ).settlement
    columns, index = None, engine.index_price(0)
    for slot in engine.instruments():
        row = engine.instrument(slot)
        if row.settlement != chain:
            continue
        per, coin = (index, row.lot_size_e8) if row.inverse and row.kind != "option" else (10**8, row.lot_size_e8)
        here = [-(-abs(x) * per // coin) for x in engine.rows.row(slot, usd)]
        columns = here if columns is None else list(map(max, columns, here))
    return columns


@pytest.mark.parametrize("model", MODELS)
def test_quotes_of_a_group_cost_at_most_what_it_lets_through(model):
    venue = make(model)
    protect(venue, venue.maker, quantity_limit_e8=3 * COINS, max_quote_e8=10 * COINS)
    costs = []
    for lots in (1, 20, 60, 100):
        assert mass_quote(venue, venue.maker, *quotes(venue, NAMES, lots))[-1].count == 2 * len(NAMES)
        costs.append(initial(venue))
        venue.sound()
    # from some size on only what does not depend on the columns grows: fees, cost and a unit a lot
    assert costs[0] < costs[1] < costs[2] < costs[3]
    assert costs[3] - costs[2] < 0.2 * (costs[2] - costs[1])
    unlimited = make(model)
    protect(unlimited, unlimited.maker)
    mass_quote(unlimited, unlimited.maker, *quotes(unlimited, NAMES, 60))
    assert initial(unlimited) > 1.3 * costs[2]


def test_the_cap_is_the_limit_at_the_worst_row_per_coin():
    venue = make()
    protect(venue, venue.maker, quantity_limit_e8=2 * COINS, max_quote_e8=COINS)
    name = NAMES[0]
    mass_quote(venue, venue.maker, entry(venue, name, (5, 10)), group=1)
    slot = venue.slot(name)
    for index, vol in ((100_000, 0.6), (93_000, 0.9)):
        venue.marks(index, vol)
        row = venue.engine.rows.row(slot, False)
        columns = venue.engine.exposure.scenario_totals(venue.maker, 0, True)
        assert columns[1] == [0] * len(row)
        assert columns[8][0][1] == [10 * min(0, x) for x in row]
        caps, delta = venue.engine.exposure.caps_of(venue.maker, 0, 1)
        assert caps == [-(-3 * x) for x in worst_per_coin(venue, 0, False)]
        assert delta >= 3 * 10**10


def test_two_groups_and_ordinary_orders_add_up():
    venue = make()
    for number in (1, 2):
        protect(venue, venue.maker, number, quantity_limit_e8=COINS, max_quote_e8=5 * COINS)
    mass_quote(venue, venue.maker, *quotes(venue, NAMES, 40))
    one = initial(venue)
    mass_quote(venue, venue.maker, *quotes(venue, NAMES, 40), group=2)
    both = initial(venue)
    assert 1.5 * one < both <= 2 * one + 10
    # an ordinary protected order counts in full, whatever its group lets through
    in_group(venue, venue.maker, "BTC-PERPETUAL", "buy", 199_000, 50_000)
    assert initial(venue) > both + 0.1 * 5 * 10**10
    venue.sound()


@pytest.mark.parametrize("model", MODELS)
def test_figures_stay_those_of_a_recomputation(model):
    """Quotes of two groups come, shrink, move and trade under changing marks and settings."""
    draw, venue = random.Random(7), make(model)
    names = [*NAMES, "BTC-PERPETUAL", "BTC_USDC-PERPETUAL", LINEAR[0].name]
    protect(venue, venue.maker, 1, quantity_limit_e8=40 * COINS, max_quote_e8=20 * COINS)
    protect(venue, venue.maker, 2, quantity_limit_e8=40 * COINS)
    triggered = 0
    for step in range(150):
        some = draw.sample(names, 3)
        group, lots = draw.choice((1, 2)), draw.randint(0, 60)
        mass_quote(venue, venue.maker, *quotes(venue, some, lots), group=group)
        if step % 7 == 3:
            venue.marks(100_000 + draw.randint(-300, 300), 0.6 + draw.random() / 100)
        if step % 11 == 5:
            protect(venue, venue.maker, 2, quantity_limit_e8=40 * COINS, max_quote_e8=draw.choice((0, 20 * COINS)))
        if step % 5 == 2:
            name = draw.choice(names)
            market = venue.engine.market(venue.slot(name))
            if market.best_ask_units:
                found = venue.place(venue.taker, name, "buy", market.best_ask_units, draw.randint(1, 50))
                triggered += EventKind.PROTECTION_TRIGGERED in [e.kind for e in found]
        venue.sound()
    assert len(venue.engine.open_orders(venue.maker)) > 5


def test_settings_that_the_funds_do_not_cover_are_refused():
    venue = make()
    protect(venue, venue.maker, quantity_limit_e8=COINS, max_quote_e8=90 * COINS)
    assert mass_quote(venue, venue.maker, *quotes(venue, NAMES, 900))[-1].count == 2 * len(NAMES)
    before = initial(venue)
    found = protect(venue, venue.maker)
    assert only(found, EventKind.COMMAND_REJECTED).reason == Reason.NOT_ENOUGH_FUNDS
    assert initial(venue) == before
    assert venue.engine.protection_groups(venue.maker)[0].quantity_limit_e8 == COINS
    # the same without what can be lost is taken
    protect(venue, venue.maker, quantity_limit_e8=COINS // 2, max_quote_e8=90 * COINS)
    assert initial(venue) < before
    venue.sound()


def test_the_cap_covers_whatever_fills_until_the_trigger():
    """After any fills up to the trigger the positions need no more than the quotes did before."""
    for seed in range(12):
        venue, draw = make(), random.Random(seed)
        protect(venue, venue.maker, quantity_limit_e8=2 * COINS, max_quote_e8=COINS)
        mass_quote(venue, venue.maker, *quotes(venue, NAMES, 10))
        before = initial(venue)
        for _ in range(60):
            name, side = draw.choice(NAMES), draw.choice(("buy", "sell"))
            market = venue.engine.market(venue.slot(name))
            price = market.best_ask_units if side == "buy" else market.best_bid_units
            if price:
                venue.place(venue.taker, name, side, price, 10)
        assert venue.engine.open_orders(venue.maker) == []
        equity, after, _ = venue.engine.exposure.margins(venue.maker, 0)
        assert after + 40 * 10**10 - equity <= before


@pytest.mark.parametrize("model", MODELS)
def test_below_the_cap_quotes_cost_what_orders_cost(model):
    costs = []
    for special in (True, False):
        venue = make(model)
        protect(venue, venue.maker, quantity_limit_e8=500 * COINS, max_quote_e8=100 * COINS)
        if special:
            mass_quote(venue, venue.maker, *quotes(venue, NAMES, 7), entry(venue, "BTC-PERPETUAL", (199_000, 9_000)))
        else:
            for name in NAMES:
                row = venue.engine.instrument(venue.slot(name))
                mark = venue.engine.market(venue.slot(name)).mark_price_e8 // row.price_unit_e8
                venue.place(venue.maker, name, "buy", max(5, mark // 5 * 5 - 5), 7)
                venue.place(venue.maker, name, "sell", mark // 5 * 5 + 10, 7)
            venue.place(venue.maker, "BTC-PERPETUAL", "buy", 199_000, 9_000)
        assert len(venue.engine.open_orders(venue.maker)) == 2 * len(NAMES) + 1
        costs.append([venue.engine.exposure.margins(venue.maker, c) for c in (0, 1)])
    assert costs[0] == costs[1]


def test_beyond_the_cap_only_the_unit_a_lot_is_added():
    """10,000 lots of the perpetual are a coin; where it is alone the cap is that many coins of its own row."""
    venue = Driver([perpetual(), perpetual("BTC-TWIN")])
    venue.maker = venue.account("maker", btc=40)
    venue.marks(100_000)
    protect(venue, venue.maker, quantity_limit_e8=COINS, max_quote_e8=COINS)
    costs = []
    for lots in ((10_000, 0), (10_000, 5_000), (10_000, 10_000)):
        entries = [
            entry(venue, name, (199_000, n)) for name, n in zip(("BTC-PERPETUAL", "BTC-TWIN"), lots, strict=True) if n
        ]
        assert mass_quote(venue, venue.maker, *entries)[-1].count == len(entries)
        costs.append(initial(venue))
    # up to two coins each lot costs the same
    assert costs[1] - costs[0] == pytest.approx(costs[0] / 2, abs=2)
    assert costs[2] - costs[1] == pytest.approx(costs[0] / 2, abs=2)
    # one coin less lets through only 1.5: the rest is a unit a lot
    protect(venue, venue.maker, quantity_limit_e8=COINS // 2, max_quote_e8=COINS)
    assert initial(venue) == pytest.approx(costs[1] + 5_000, abs=2)
    protect(venue, venue.maker, quantity_limit_e8=1, max_quote_e8=COINS)
    assert initial(venue) == pytest.approx(costs[0] + 10_000, abs=30)
    venue.sound()
