"""Safe bands of isolated positions: marks between which a bucket provably keeps its level, against brute force.

As in test_safe_bands, two engines get the same records, one with bands from the first account on, one without."""

from collections import Counter

import numpy as np
import pytest

from exchange import commands, config, governance
from exchange.commands import CommandKind
from tests.oracles.crowd import EXPIRY_HOURS, Crowd
from tests.oracles.world import HOUR_NS, START_NS
from tests.properties.test_safe_bands import Pair, banded

COINS = ("BTC", "ETH")


class Isolated(Crowd):
    """A crowd, and beside it accounts with one to three isolated positions each, of any leverage and every tier."""

    def __init__(self, seed: int, accounts: int) -> None:
        limits = config.Limits(max_accounts=4_000, max_instruments=256, price_band_ppm=500_000)
        terms = governance.Governance(margin_notice_ns=60 * 10**9)
        super().__init__(seed, 24, limits=limits, governance=terms)
        self.futures = [view for view in self.slots if view.kind != "option"]
        self.owners: list[int] = []
        for number in range(accounts):
            if number % 40 == 0:
                self.house = self._account(f"giver-{number}", "segregated_pm", BTC=90_000, USDC=4e9, ETH=900_000)
            owner = self._account(f"owner-{number}", "segregated_pm", BTC=600, USDC=40_000_000, ETH=12_000)
            for place in self.rng.choice(len(self.futures), int(self.rng.integers(1, 4)), replace=False):
                self.open(owner, self.futures[int(place)])
            self.owners.append(owner)

    def open(self, owner: int, view) -> None:
        """A position in a bucket, with more collateral for some."""
        rng = self.rng
        leverage = float(rng.choice([2.0, 5.0, 10.0, 25.0, 50.0, 100.0]))
        mode = config.SetMarginMode(view.name, "isolated", round(leverage * 100))
        self.send(commands.cold(CommandKind.SET_MARGIN_MODE, mode, owner))
        size = float(np.exp(rng.normal(11.5, 2.0)))
        lots = int(rng.choice([-1, 1])) * self.lots_worth(view.instrument, min(size, 15e6))
        self.trade(owner, self.house, view.instrument, lots)
        self.cancel_all(owner)
        self.cancel_all(self.house)
        if rng.random() < 0.3:
            self.add(owner, view, float(np.exp(rng.normal(7.0, 1.5))))

    def add(self, owner: int, view, usd: float) -> None:
        """Collateral in (or where negative out)."""
        minor = usd / self.index[view.underlying] * 1e10 if view.settlement != "USDC" else usd * 1e6
        payload = config.MoveCollateral(view.name, round(minor))
        self.send(commands.cold(CommandKind.MOVE_COLLATERAL, payload, owner))

    def announce(self, scale_ppm: int) -> None:
        """Other margin rates of BTC, a minute from now."""
        payload = governance.AnnounceMargin(underlying="BTC", scale_ppm=scale_ppm, effective_ns=0, operator=7)
        self.send(commands.cold(CommandKind.ANNOUNCE_MARGIN, payload))

    def buckets(self) -> dict[int, int]:
        """Bucket account -> instrument of all that hold something."""
        found = {}
        for owner in self.owners:
            for bucket in self.engine.buckets(owner):
                if self.engine.positions_room.lots(bucket.bucket_account_id, bucket.instrument):
                    found[bucket.bucket_account_id] = bucket.instrument
        return found

    def disturb(self, calm: float) -> None:
        """Something that happens between marks to a bucket: collateral, a trade, a perpetual's premium."""
        owner = self.owners[int(self.rng.integers(len(self.owners)))]
        held = self.engine.buckets(owner)
        what = int(self.rng.integers(4))
        if what == 0:
            self.quote(float(self.rng.uniform(-20.0, 20.0)) * calm)
        elif held:
            bucket = held[int(self.rng.integers(len(held)))]
            view = self.slots[bucket.instrument]
            if what == 1:
                self.add(owner, view, float(self.rng.normal(0.0, 2_000.0)))
            else:
                lots = self.engine.positions_room.lots(bucket.bucket_account_id, bucket.instrument)
                change = -lots if what == 2 else int(self.rng.choice([-1, 1])) * max(1, abs(lots) // 3)
                self.trade(owner, self.house, bucket.instrument, change)
                self.cancel_all(owner)
                self.cancel_all(self.house)


def run(seed: int, accounts: int, marks: int, calm: float, seconds: float) -> Pair:
    crowd = Isolated(seed, accounts)
    pair = Pair(crowd)
    for number in range(marks):
        jump = {20: -0.03, 22: 0.05, 40: -0.08, 60: 0.10}.get(number % 80, 0.0)
        for _ in range(int(crowd.rng.integers(4))):
            crowd.disturb(calm)
        if number % 60 == 45:
            crowd.announce((1_500_000, 800_000)[number // 60 % 2])
        pair.same(crowd.move(calm, COINS[number % 4 == 3], jump, seconds))
        if number % 5 == 4:
            pair.same(crowd.send(commands.record(CommandKind.TICK)))
    pair.finish()
    return pair


def told(pair: Pair, accounts: int) -> None:
    print(f"{accounts} buckets; looked at {np.mean(pair.visited):.1f} (median {np.median(pair.visited)}), {pair.kinds}")


def test_every_crossing_of_a_bucket_is_found(seed: int) -> None:
    pair = run(seed, 260, 160, 0.004, 20.0)
    count = len(pair.crowd.buckets())
    told(pair, count)
    assert pair.kinds["level 0"] and pair.kinds["level 1"] and pair.kinds["level 2"]
    assert count > 100 and pair.kinds["MARGIN_ANNOUNCED"]


def test_funding_moves_buckets_across_levels(seed: int) -> None:
    """Long waits between marks of a still market with large premiums: funding alone takes collateral away."""
    pair = run(seed, 120, 60, 0.0002, 3_600.0)
    told(pair, len(pair.crowd.buckets()))
    assert pair.kinds["level 1"] and pair.kinds["level 2"]


@pytest.mark.full
@pytest.mark.parametrize("number", range(4))
def test_every_crossing_of_a_bucket_is_found_at_length(number: int, seed: int) -> None:
    pair = run(seed + number, 400, 1_500, (0.01, 0.004, 0.001, 0.0003)[number], (20.0, 20.0, 5.0, 600.0)[number])
    told(pair, len(pair.crowd.buckets()))


def test_few_buckets_are_looked_at_in_a_calm_market(seed: int) -> None:
    crowd = Isolated(seed, 260)
    engine = banded(crowd.records)
    count, before = len(crowd.buckets()), 0
    for number in range(30):
        crowd.move(0.0002, "BTC")
        if number == 10:
            before = engine.monitor.bands.statistics()[1]
        engine.apply(crowd.records[-1])
    looked = (engine.monitor.bands.statistics()[1] - before) / 20
    print(f"{count} buckets, {looked:.1f} accounts looked at per mark")
    assert count > 300 and looked < count / 10


def price_at(crowd: Isolated, instrument: int, price: float) -> None:
    """Move the market so that an instrument's mark is there: a perpetual's is the index where nobody quotes."""
    view = crowd.slots[instrument]
    if view.kind == "perpetual":
        crowd.index[view.underlying] = price
    else:
        crowd.basis[view.expiry_ns] = price / crowd.index[view.underlying] - 1.0


def test_a_band_ends_where_the_level_turns(seed: int) -> None:
    """Into both ends of the bands: inside every bucket keeps its rank; and an end on the side of a level
    stands within 0.3 % of the price where the rank turns (what funding may take, and rounding), so that a band is worth
    hardly less than the truth."""
    crowd = Isolated(seed, 150)
    for coin in (*COINS, *COINS):
        crowd.marks(coin)
    watched = banded(crowd.records)
    buckets, monitor = crowd.buckets(), crowd.engine.monitor
    bands = {}
    for bucket, instrument in buckets.items():
        underlying = COINS.index(crowd.slots[instrument].underlying)
        if (band := watched.monitor.bands.band(bucket, underlying)) is not None:
            bands[bucket] = band
            assert watched.monitor.bands.band(bucket, 1 - underlying) == (-np.inf, np.inf, np.inf)
    ranks = {bucket: monitor.rank(bucket) for bucket in bands}
    kept, turned, tried = 0, Counter(), Counter()
    start = dict(crowd.index), dict(crowd.basis)
    chosen = crowd.rng.choice(list(bands), min(len(bands), 60), replace=False)
    for bucket in (int(one) for one in chosen):
        instrument, (low, high, _) = buckets[bucket], bands[bucket]
        coin = crowd.slots[instrument].underlying
        for edge, step in ((low, -1.0), (high, 1.0)):
            for beyond in (0.0, 0.003):
                crowd.index, crowd.basis = dict(start[0]), dict(start[1])
                price_at(crowd, instrument, edge * (1.0 + step * (beyond or -1e-7)))
                crowd.marks(coin)
                for other, (lowest, highest, _) in bands.items():
                    mark = crowd.engine.market(buckets[other]).mark_price_e8 / 1e8
                    if crowd.slots[buckets[other]].underlying == coin and lowest <= mark <= highest:
                        kept += 1
                        assert monitor.rank(other) == ranks[other], (other, lowest, highest, mark)
                if beyond and 1.0 / 7.0 < edge / crowd.engine.market(instrument).mark_price_e8 * 1e8 < 7.0:
                    tried[step] += 1
                    turned[step] += monitor.rank(bucket) != ranks[bucket]
    print(f"{len(bands)} of {len(buckets)} certified, {kept} states inside, beyond {dict(tried)}: {dict(turned)}")
    assert len(bands) > 0.9 * len(buckets) and kept > 5_000
    assert sum(turned.values()) > 0.4 * sum(tried.values())  # a position has a level on one of its sides


def test_a_band_waits_for_neither_expiry_nor_listing(seed: int) -> None:
    """A dated future's buckets leave with it: over its expiry the events are those without bands."""
    crowd = Isolated(seed, 60)
    pair = Pair(crowd)
    last = START_NS + EXPIRY_HOURS[0] * HOUR_NS
    crowd.time_ns = last - 60 * 10**9
    for _ in range(24):
        pair.same(crowd.move(0.001, "BTC"))
        pair.same(crowd.send(commands.record(CommandKind.TICK)))
    pair.finish()
    assert crowd.time_ns > last and pair.kinds["INSTRUMENT_SETTLED"]
