"""Safe bands find every margin level crossing: the same records through an engine that looks at everybody.

Two engines get the same records, one with bands from the first account on, one without. Their events must be equal
byte for byte after every mark: no crossing missed, none invented.
"""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exchange import commands, config, events
from exchange.commands import CommandKind
from exchange.engine import Engine
from exchange.events import EventKind
from margin_ext import instruction_set
from tests.oracles.crowd import EXPIRY_HOURS, Crowd
from tests.oracles.history import History
from tests.oracles.world import HOUR_NS, START_NS

ROOT = Path(__file__).resolve().parents[2]
WIDTH_TO_BASIS = 30.0
AVERAGED_NS = 1_200 * 10**9
"""What a settlement average takes off the time that an option's variance accrues over."""
DUMP = """
import hashlib, sys
from exchange.engine import Engine
from margin_ext import instruction_set
engine = Engine()
engine.band_accounts = 0
with open(sys.argv[1], "rb") as journal:
    engine.apply_many(journal.read())
bands = [engine.monitor.bands.band(account, u) for account in engine.account_ids() for u in range(2)]
assert sum(band is not None for band in bands) > len(bands) // 4
print(instruction_set(), hashlib.sha256(repr(bands).encode()).hexdigest(), engine.monitor.bands.statistics())
"""


def banded(records: list[bytes]) -> Engine:
    """An engine that uses bands for any population, brought to the end of the records."""
    engine = Engine()
    engine.band_accounts = 0
    engine.apply_many(b"".join(records))
    return engine


def named(stream: bytes) -> list[tuple]:
    return [(kind.name, *fields.tolist()) for kind, fields, _ in events.records(stream)]


class Pair:
    """A crowd's engine, which looks at everybody, and one with bands beside it."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.bands = banded(crowd.records)
        self.applied = len(crowd.records)
        self.bands.take_events()
        self.kinds: Counter = Counter()
        self.visited: list[int] = []

    def same(self, expected: bytes) -> None:
        """Give the new records to the engine with bands; fails where its events are not the expected ones."""
        found = b""
        before = self.bands.monitor.bands.statistics()[1]
        for record in self.crowd.records[self.applied :]:
            self.bands.take_events()
            self.bands.apply(record)
            found = self.bands.take_events()
        self.applied = len(self.crowd.records)
        self.visited.append(self.bands.monitor.bands.statistics()[1] - before)
        for kind, fields, _ in events.records(found):
            self.kinds[kind.name] += 1
            if kind == EventKind.LEVEL_CHANGED:
                self.kinds[f"level {fields['level']}"] += 1
        if bytes(found) != bytes(expected):
            ours, theirs = named(found), named(expected)
            missed, spurious = [e for e in theirs if e not in ours], [e for e in ours if e not in theirs]
            pytest.fail(f"command {self.bands.seq}: missed {missed[:3]}, spurious {spurious[:3]}")

    def finish(self) -> None:
        assert self.bands.event_chain() == self.crowd.engine.event_chain()
        assert self.bands.state_digest() == self.crowd.engine.state_digest()
        assert self.bands.audit() == []


def disturb(crowd: Crowd, calm: float) -> None:
    """Something that happens between marks: a trade, cash in or out, another margin model, a perpetual's premium."""
    rng = crowd.rng
    account = crowd.members[int(rng.integers(len(crowd.members)))]
    what = int(rng.integers(5))
    if what == 0:
        # a future, because an option's premium moves cash too
        crowd.trade_most(account, 1, int(rng.integers(4)))
    elif what == 1:
        crowd.cash(account, ("BTC", "USDC", "ETH")[int(rng.integers(3))], int(rng.integers(1, 10**8)))
    elif what == 2:
        view = crowd.engine.account(account).currencies[place := int(rng.integers(3))]
        if view.withdrawable_minor > 0:
            crowd.cash(account, ("BTC", "USDC", "ETH")[place], -max(1, view.withdrawable_minor * 98 // 100))
    elif what == 3:
        crowd.quote(float(rng.uniform(-4.0, 4.0)) * calm)
    else:
        model = crowd.models[int(rng.integers(2))]
        payload = config.ChangeMarginModel(margin_model=model)
        crowd.send(commands.cold(CommandKind.CHANGE_MARGIN_MODEL, payload, account))


def run(
    seed: int, accounts: int, marks: int, calm: float, kind: type[Crowd] = Crowd, looked_at: float = 1.0, **changes: Any
) -> Pair:
    """Calm spells, crashes and rebounds, disturbances in between, and at the end the last hours of an expiry."""
    crowd = kind(seed, accounts, **changes)
    pair = Pair(crowd)
    last_day = START_NS + EXPIRY_HOURS[0] * HOUR_NS
    for number in range(marks):
        jump = {150: -0.05, 152: -0.06, 170: 0.08}.get(number % 200, 0.0)
        if number == marks * 3 // 4:
            # from here on the widths of the options that expire change fast, then they settle
            crowd.time_ns = max(crowd.time_ns, last_day - (marks - number) * 4 * 10**9)
        for _ in range(int(crowd.rng.integers(3))):
            disturb(crowd, calm)
        if number % 12 == 11:
            crowd.shock(int(crowd.rng.integers(4)))
            pair.same(crowd.marks("BTC"))
        pair.same(crowd.move(calm, ("BTC", "BTC", "BTC", "ETH")[number % 4], jump))
        if number % 10 == 9:
            pair.same(crowd.send(commands.record(CommandKind.TICK)))
    pair.finish()
    share = np.array(pair.visited) / accounts
    print(
        f"seed {seed}: {accounts} accounts, {marks} marks, visited {share.mean():.2%} (median {np.median(share):.2%}), "
        + ", ".join(f"{name} {count}" for name, count in sorted(pair.kinds.items()))
    )
    assert pair.kinds["level 0"] and pair.kinds["level 1"] and pair.kinds["level 2"]
    assert np.median(share) < looked_at
    return pair


def test_every_crossing_is_found(seed: int) -> None:
    pair = run(seed, 1_000, 1_000, 0.0006)
    assert pair.crowd.time_ns > START_NS + EXPIRY_HOURS[0] * HOUR_NS
    assert pair.kinds["INSTRUMENT_SETTLED"] == 21


def test_every_crossing_is_found_in_a_large_population(seed: int) -> None:
    pair = run(seed, 10_000, 60, 0.0002)
    # certified at first within the budget of each mark, then few are looked at
    assert np.median(pair.visited[30:45]) < 0.25 * 10_000


def test_a_crash_is_looked_at_and_certified_after(seed: int) -> None:
    """A mark that most bands do not outlast costs a look at those accounts and no certificates; the next makes them."""
    crowd = Crowd(seed, 400)
    pair = Pair(crowd)
    statistics = pair.bands.monitor.bands.statistics
    for jump in (0.0, 0.0, -0.06, 0.0):
        before = statistics()
        pair.same(crowd.move(0.00005, "BTC", jump, 1.0))
        if jump:
            assert statistics()[1] - before[1] > 200
            assert statistics()[2] == before[2]
    assert statistics()[2] - before[2] > 100
    pair.finish()


@pytest.mark.full
@pytest.mark.parametrize("number", range(4))
def test_every_crossing_is_found_at_length(number: int, seed: int) -> None:
    run(seed + number, (2_000, 5_000, 10_000, 20_000)[number], 3_000, (0.002, 0.0006, 0.0003, 0.0001)[number])


def test_histories_with_every_command_are_the_same(seed: int) -> None:
    history, plain, bands = History(seed, ticks=True), Engine(), Engine()
    plain.band_accounts, bands.band_accounts = 1 << 62, 0
    for _ in range(15_000):
        record = history.next()
        plain.apply(record)
        bands.apply(record)
        happened = plain.take_events()
        assert bytes(bands.take_events()) == bytes(happened), named(happened)
        history.saw(events.records(happened))
    assert bands.state_digest() == plain.state_digest()
    assert bands.monitor.bands.statistics()[2] > 100


def corner(rng: np.random.Generator, crowd: Crowd, start: dict, band: tuple[float, float, float]) -> float:
    """Put the market just inside a band's edge; returns how far it is from `start`, as a change of widths."""
    low, high, most = band
    reach = most * 0.998
    of_vol, of_basis = ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0))[int(rng.integers(3))]
    crowd.index["BTC"] = float(rng.choice([low * (1.0 + 1e-7), high * (1.0 - 1e-7)]))
    signs = rng.choice([-1.0, 1.0], len(crowd.options)) if rng.integers(3) == 0 else float(rng.choice([-1.0, 1.0]))
    left = np.array([crowd.engine.instrument(slot).expiry_ns - crowd.time_ns for slot in crowd.options])
    # boxes of expiries nearer than two weeks are wider by the root of that, eight times at most
    stretch = np.clip(np.sqrt(14 * 24 * HOUR_NS / (left - AVERAGED_NS * crowd.averaged)), 1.0, 8.0)
    crowd.skew = start["vols"] * (1.0 + reach * of_vol * signs * stretch) / crowd.level - 1.0
    for expiry, basis in start["basis"].items():
        change = reach * of_basis / WIDTH_TO_BASIS * float(rng.choice([-1.0, 1.0]))
        crowd.basis[expiry] = (1.0 + basis) * (1.0 + change) - 1.0
    return reach


# the share of the maintenance margin where the warning stands: values at the mark weigh nothing in the main grid at
# 1.25, the other way round above, and as part of the equity below
@pytest.mark.parametrize(
    "warning_ppm",
    [(1_000_000,), (1_250_000,), (1_600_000,), (2_000_000, 1_500_000, 1_250_000, 1_100_000), (1_250_000, 1_050_000)],
)
def test_no_corner_of_a_box_holds_a_crossing(warning_ppm: tuple[int, ...], seed: int) -> None:
    crowd = Crowd(seed, 1_200, liquidation=config.Liquidation(warning_ppm=warning_ppm))
    before, bands, inside = into_corners(crowd, 400)
    warned = sum(0 < before[account] <= len(warning_ppm) for account in bands)
    assert warned >= (5 if warning_ppm[0] > 1_000_000 else 0)
    assert len(bands) > (300 if warning_ppm[0] > 1_250_000 else 900)
    assert inside > 30_000


def into_corners(crowd: Crowd, times: int) -> tuple[dict[int, int], dict[int, tuple], int]:
    """From one anchor into the corners of its boxes: who is still inside its band keeps its level, by brute force.

    Returns ranks and bands at the anchor by account, and how many states of accounts were inside."""
    rng = crowd.rng
    crowd.index["BTC"] *= 0.985
    for coin in ("ETH", "BTC"):
        crowd.marks(coin)
    watched = banded(crowd.records)
    bands = {a: band for a in crowd.members if (band := watched.monitor.bands.band(a, 0)) is not None}
    edges = [band for band in bands.values() if np.isfinite(band).all()]
    start = {
        "index": crowd.index["BTC"],
        "vols": crowd.level * (1.0 + crowd.skew),
        "basis": dict(crowd.basis),
    }
    levels = {a: crowd.engine.monitor.rank(a) for a in crowd.engine.account_ids()}
    before = dict(levels)
    inside = 0
    for _ in range(times):
        reach = corner(rng, crowd, start, edges[int(rng.integers(len(edges)))])
        for kind, fields, _ in events.records(crowd.marks("BTC")):
            if kind == EventKind.LEVEL_CHANGED:
                levels[int(fields["account_id"])] = crowd.engine.monitor.rank(int(fields["account_id"]))
        price = crowd.index["BTC"]
        for account, (low, high, most) in bands.items():
            if low <= price <= high and reach * 1.001 <= most:
                inside += 1
                assert levels[account] == before[account], (levels[account], account, low, high, most, price, reach)
    print(f"{len(bands)} of {len(crowd.members)} certified, {inside} states inside a band, level kept")
    print(f"certified by rank: {sorted(Counter(before[account] for account in bands).items())}")
    return before, bands, inside


@pytest.mark.parametrize("wanted", ["avx512", "avx2", "base"])
def test_bands_are_the_same_bits_on_every_instruction_set(wanted: str, tmp_path: Path) -> None:
    crowd = Crowd(3, 300)
    for number in range(12):
        crowd.move(0.001, ("ETH", "BTC")[number % 2])
    journal = tmp_path / "journal"
    journal.write_bytes(b"".join(crowd.records))
    engine = banded(crowd.records)
    bands = [engine.monitor.bands.band(account, u) for account in engine.account_ids() for u in range(2)]
    expected = hashlib.sha256(repr(bands).encode()).hexdigest()
    environment = {**os.environ, "MARGRAVE_ISA": wanted, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", DUMP, str(journal)], env=environment, capture_output=True, text=True, check=False
    )
    if "no such kernels on this machine" in done.stderr:
        pytest.skip(f"{wanted} kernels need another machine than this one ({instruction_set()})")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(maxsplit=2) == [wanted, expected, f"{engine.monitor.bands.statistics()}\n"]
