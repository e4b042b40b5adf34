"""Deleveraging ranks: the order shown is the order taken, kept for a while, asked for no more often than that."""

from types import SimpleNamespace

from exchange import config
from exchange.commands import CommandKind
from gateway.adl import AdlRanks
from gateway.listing import Listings
from tests.driver import COIN, only
from tests.unit.test_deleveraging import NAME, receipts, until_deleveraged, venue


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def short_side(made):
    """Alice long against four shorts: two of one owner, one hedged by a long in the linear perpetual, one rich."""
    alice = made.account("alice", btc=1)
    poor, rich = made.account("poor", btc=3), made.account("rich", btc=90)
    sibling = made.account("sibling", btc=1, owner=poor)
    hedged = made.account("hedged", usdc=300_000, model="cross_pm")
    maker = made.account("maker", btc=500, usdc=10**7)
    made.trade(maker, hedged, "BTC_USDC-PERPETUAL", "buy", 1_000_000, 900)
    for account, lots in ((rich, 20_000), (poor, 12_000), (sibling, 3_000), (hedged, 9_000)):
        made.trade(account, alice, NAME, "buy", 200_000, lots)
    return alice, {"poor": poor, "rich": rich, "sibling": sibling, "hedged": hedged}


def shown(made, account, ranks):
    """What `account`'s position in the perpetual shows."""
    listing = Listings(made.engine).by_name[NAME]
    (view,) = [p for p in made.engine.positions(account) if p.instrument == made.slot(NAME)]
    return ranks.shown(listing, view)


def test_the_order_taken_is_the_order_shown_just_before() -> None:
    made = venue(fund_btc=0, insolvent_ns=10**9)
    alice, others = short_side(made)
    before = {}
    listing = Listings(made.engine).by_name[NAME]
    found = []
    while not receipts(found):
        ranks = AdlRanks(made.engine)  # asked anew, just before each step
        before = {name: shown(made, account, ranks) for name, account in others.items()}
        found = until_deleveraged(made, 79_000, amount=0, seconds=5)
    taken = {r.account_id: r for r in receipts(found)}
    assert sum(r.quantity_lots for r in taken.values()) == 44_000
    for name, account in others.items():
        assert (before[name]["adl_rank"], before[name]["adl_of"]) == (taken[account].rank, 4), name
    order = sorted(others, key=lambda name: before[name]["adl_rank"])
    assert [taken[others[name]].rank for name in order] == [1, 2, 3, 4]
    assert order[-1] == "hedged" and before["hedged"]["adl_raises_requirement"]
    ahead = 0
    for name in order:
        lots = taken[others[name]].quantity_lots
        assert before[name]["adl_ahead"] == listing.amount(ahead)
        assert before[name]["adl"] == 5 - 5 * ahead // 44_000
        ahead += lots
    assert before[order[0]]["adl"] == 5
    assert alice not in taken


def test_a_group_has_one_ratio_and_nobody_holds_nothing() -> None:
    made = venue()
    _, others = short_side(made)
    ranks = AdlRanks(made.engine)
    one, two = (shown(made, others[name], ranks)["adl_ratio"] for name in ("poor", "sibling"))
    assert one == two > shown(made, others["rich"], ranks)["adl_ratio"]
    listing = Listings(made.engine).by_name[NAME]
    assert ranks.shown(listing, SimpleNamespace(quantity_lots=0)) == {"adl": 0, "adl_rank": None}


def test_ranks_are_kept_for_a_while_and_asked_for_again_when_something_has_happened() -> None:
    made = venue()
    _, others = short_side(made)
    clock, asked = Clock(), []
    ranks = AdlRanks(made.engine, clock)
    real = made.engine.liquidation.deleveraging.queue
    made.engine.liquidation.deleveraging.queue = lambda *given: asked.append(given) or real(*given)
    first = shown(made, others["rich"], ranks)
    clock.now += 50.0
    assert shown(made, others["poor"], ranks) and len(asked) == 1  # nothing has happened since
    made.cold(CommandKind.DEPOSIT, config.Transfer("BTC", 50 * COIN), others["poor"])
    assert len(asked) == 1 and shown(made, others["poor"], ranks)["adl_rank"] == 1
    assert len(asked) == 2
    made.cold(CommandKind.DEPOSIT, config.Transfer("BTC", 1), others["poor"])
    clock.now += 0.5
    assert shown(made, others["rich"], ranks) == shown(made, others["rich"], ranks) and len(asked) == 2
    clock.now += 0.6
    shown(made, others["rich"], ranks)
    assert len(asked) == 3
    assert first["adl_of"] == 4


def test_asking_changes_nothing() -> None:
    made = venue()
    short_side(made)
    digest = made.engine.state_digest()
    for lots in (1, -1):
        assert made.engine.liquidation.deleveraging.queue(made.slot(NAME), lots)
    assert made.engine.state_digest() == digest
    assert only(made.marks(100_000), 6).underlying == 0
    made.sound()
