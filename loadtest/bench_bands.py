"""Safe bands: from a repriced mark to every margin level crossing found, beside one full recomputation.

Figures of `margrave bench margin`; `python -m loadtest.bench_bands PLOT.svg` draws the cost per mark against the number
of accounts.
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from exchange import commands, config
from exchange.commands import CommandKind
from exchange.engine import Engine
from loadtest.band_loops import Population
from loadtest.line_plot import Line, line_plot
from loadtest.report import Figure, progress
from margin_ext.kernels import instruction_set

ACCOUNTS = 100_000
EXPIRY_DAYS = (0.5, 1, 2, 3, 7, 14, 21, 30, 61, 91, 182, 273, 365)
PAIRS = 500
SPOT_USD = 65_000.0
START_NS = 1_767_225_600 * 10**9
DAY_NS = 86_400 * 10**9
WARNING = 1.25
BUDGET = 4_096
CALM_MARKS, CRASH_MARKS, CHECK_EVERY = 2_000, 60, 20
CALM_STEP, CRASH_STEP = 0.0003, 0.004
CRASH_JUMPS = {10: -0.05, 11: -0.04, 25: 0.06, 40: -0.12}
SIZES = (1_000, 10_000, 100_000, 1_000_000)
Array = NDArray[np.float64]


class Venue:
    """An engine without accounts, its instruments and a market that moves: index, every forward, every vol."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.engine = Engine()
        self.time_ns = START_NS
        self.index = SPOT_USD
        self.expiry_ns = [START_NS + round(days * DAY_NS) for days in EXPIRY_DAYS]
        self.basis = 0.06 * np.array(EXPIRY_DAYS) / 365.0
        genesis = config.Config(
            venue_id="bands",
            currencies=(config.Currency(name="BTC", exponent=10, underlying="BTC"),),
            underlyings=(config.Underlying(name="BTC", index_name="btc_usd"),),
            instruments=tuple(self._instruments()),
            limits=config.Limits(max_accounts=16, max_instruments=2_048),
            liquidation=config.Liquidation(warning_ppm=(round(WARNING * 1e6),)),
        )
        self._send(commands.cold(CommandKind.GENESIS, genesis))
        pairs = self.engine.pairs(0)
        self.option = np.array([slot for slot, _, _ in pairs])
        self.expiry = np.array([self.expiry_ns.index(expiry) for _, expiry, _ in pairs])
        away = np.log([strike / 1e8 / SPOT_USD for _, _, strike in pairs])
        self.vol = np.clip(0.55 * (1 - 0.1 * away + 0.4 * away**2), 0.2, 3.0)
        self.move(0.0)

    def _instruments(self) -> list[config.Instrument]:
        coin: dict[str, Any] = {"underlying": "BTC", "settlement": "BTC", "inverse": True}
        future = {**coin, "price_unit_e8": 5 * 10**7, "lot_size_e8": 10 * 10**8}
        found = [config.Instrument(name="BTC-PERPETUAL", kind="perpetual", **future)]
        for number, (days, expiry) in enumerate(zip(EXPIRY_DAYS, self.expiry_ns, strict=True)):
            found.append(config.Instrument(name=f"BTC-{number}", kind="future", expiry_ns=expiry, **future))
            count = len(range(number, PAIRS, len(EXPIRY_DAYS)))
            away = np.linspace(-3.2, 3.2, count) * 0.55 * (days / 365.0) ** 0.5
            for strike in sorted({round(SPOT_USD * float(np.exp(one)) / 10) * 10 for one in away}):
                for side in ("call", "put"):
                    name = f"BTC-{number}-{strike}-{side[0].upper()}"
                    found.append(
                        config.Instrument(
                            name=name, kind="option", expiry_ns=expiry, strike_e8=strike * 10**8, option_type=side,
                            price_unit_e8=10**4, lot_size_e8=10**7, max_price_units=262_143, **coin,
                        )
                    )  # fmt: skip
        return found

    def _send(self, record: bytearray) -> None:
        record[8:16] = (self.engine.seq + 1).to_bytes(8, "little")
        record[16:24] = self.time_ns.to_bytes(8, "little")
        self.engine.apply(record)
        self.engine.take_events()

    def move(self, step: float, jump: float = 0.0, seconds: float = 10.0) -> None:
        """Time passes, the market moves and is repriced."""
        draw = self.rng.normal
        shock = step * draw() + jump
        self.time_ns += round(seconds * 1e9)
        self.index *= float(np.exp(shock))
        self.basis += draw(0.0, step * 0.05 + abs(jump) * 0.02, len(self.basis))
        self.vol *= np.exp(2 * step * draw() - 0.5 * shock + draw(0.0, step * 0.3, len(self.vol)))
        forwards = [(t, round(self.index * (1 + b) * 1e8)) for t, b in zip(self.expiry_ns, self.basis, strict=True)]
        vols = [(int(slot), round(vol * 1e6)) for slot, vol in zip(self.option, self.vol, strict=True)]
        self._send(commands.update_marks(0, round(self.index * 1e8), self.time_ns, forwards, vols))


def crowd(venue: Venue, accounts: int, seed: int) -> Population:
    """Takers of futures, buyers, sellers, spreads and market makers, a few of them near their warning."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(5, accounts, p=[0.40, 0.22, 0.20, 0.10, 0.08])
    ranges = np.array([(1, 3), (1, 10), (2, 24), (8, 40), (40, 160)])
    count = rng.integers(ranges[kind, 0], ranges[kind, 1])
    start = np.concatenate([[0, 0], np.cumsum(count)]).astype(np.int64)
    total = int(start[-1])
    slots = venue.engine.instruments()
    futures = np.array([slot for slot in slots if venue.engine.instrument(slot).kind != "option"])
    options = np.array([slot for slot in slots if venue.engine.instrument(slot).kind == "option"])
    of = np.repeat(kind, count)
    is_future = (of == 0) | ((of == 2) & (rng.random(total) < 0.15)) | ((of >= 3) & (rng.random(total) < 0.1))
    slot = np.where(is_future, rng.choice(futures, total), rng.choice(options, total)).astype(np.uint16)
    lots = np.rint(np.exp(rng.normal(1.0, 1.2, total))) + 1
    sign = rng.choice([-1.0, 1.0], total)
    sign = np.where(of == 1, 1.0, np.where((of == 2) & ~is_future, np.where(rng.random(total) < 0.8, -1.0, 1.0), sign))
    lots = (lots * sign * np.where(is_future, 600, 1)).astype(np.int32)
    offset = np.zeros(accounts + 1)
    population = Population(venue.engine, start, slot, lots, offset, WARNING, BUDGET)
    need, equity = population.measure_needs()
    near = rng.random(accounts) < 0.03
    excess = np.where(near, rng.uniform(0.0005, 0.1, accounts), np.exp(rng.normal(0.2, 1.0, accounts)))
    # at least what 0.01 coin is worth, so that nobody's warning stands at nothing
    offset[1:] = np.rint(WARNING * np.maximum(need[1:], 1e8) * (1.0 + excess) - equity[1:])
    return population


class Run(NamedTuple):
    """Times in ms per mark."""

    found: Array
    certified: Array
    visited: Array
    full: Array
    crossings: int


def drive(venue: Venue, population: Population, accounts: int, marks: int, step: float, jumps: dict[int, float],
          check_every: int) -> Run:  # fmt: skip
    """Moves the market; where checked, levels by bands must be those of a full recomputation."""
    found, certified, visited, full = [], [], [], []
    levels = np.array(population.level)
    crossings = 0
    for number in range(marks):
        venue.move(step, jumps.get(number, 0.0))
        checked = number % check_every == 0
        # who comes second finds its tables in the cache: by turns
        first = checked and number // check_every % 2 == 0
        measured = population.full() if first else None
        wait_ns, after_ns, count = population.mark_moved(venue.time_ns)
        found.append(wait_ns / 1e6)
        certified.append(after_ns / 1e6)
        visited.append(count / accounts)
        now = np.array(population.level)
        crossings += int(np.count_nonzero(now != levels))
        if checked:
            full_ns, expected = measured or population.full()
            full.append(full_ns / 1e6)
            wrong = int(np.count_nonzero(expected != now))
            if wrong:
                raise RuntimeError(f"{wrong} levels by bands differ from a full recomputation")
        population.replace_breached(float(np.exp(venue.rng.normal(0.2, 1.0))))
        levels = np.array(population.level)
    return Run(np.array(found), np.array(certified), np.array(visited), np.array(full), crossings)


def warm(venue: Venue, accounts: int, seed: int = 3) -> Population:
    """A population with its bands."""
    population = crowd(venue, accounts, seed)
    population.budget = accounts
    for _ in range(3):
        venue.move(0.00002, seconds=1.0)
        population.mark_moved(venue.time_ns)
    population.budget = BUDGET
    return population


def figures(accounts: int = ACCOUNTS, calm_marks: int = CALM_MARKS) -> dict[str, Figure]:
    """`margin.bands.mean`, `.p999` and `.crash`: milliseconds per mark until every crossing is found."""
    venue = Venue(1)
    population = warm(venue, accounts)
    calm = drive(venue, population, accounts, calm_marks, CALM_STEP, {}, CHECK_EVERY)
    share = f"{np.mean(calm.visited):.2%} looked at (median {np.median(calm.visited):.2%})"
    progress(f"margin: bands {calm.found.mean():.3f} ms a mark, {share}")
    crash = drive(venue, population, accounts, CRASH_MARKS, CRASH_STEP, CRASH_JUMPS, 1)
    one_full = float(np.median(calm.full))
    peers = {"full recomputation": one_full}
    slowest = float(crash.full.max())
    # where everybody was looked at: what searching first costs beside that
    whole = crash.visited >= 1.0
    beside = ""
    if whole.any():
        ratio = float(np.median(crash.found[whole] / crash.full[whole]))
        beside = f"; {whole.sum()} looked at everybody, in {ratio:.2f} of it"
    note = f"{accounts:,} coin accounts, {instruction_set()}; {calm_marks} marks, {share}, {calm.crossings} crossings; "
    note += f"certifying anew takes {calm.certified.mean():.3f} ms more; "
    note += f"{population.memory_bytes()[0] / accounts:.0f} bytes an account"
    worst = f"{CRASH_MARKS} marks, worst shown, {np.mean(crash.visited):.0%} looked at, {crash.crossings} crossings"
    worst += f"{beside}; certifying anew at most {crash.certified.max():.1f} ms more"
    return {
        "margin.bands.mean": Figure(float(calm.found.mean()), "ms", 0.2, peers, note),
        "margin.bands.p999": Figure(float(np.quantile(calm.found, 0.999)), "ms", 2.0, peers, note),
        "margin.bands.crash": Figure(
            float(crash.found.max()), "ms", slowest, {"slowest full recomputation of these marks": slowest}, worst
        ),
    }


def growth(sizes: tuple[int, ...] = SIZES, marks: int = 200) -> list[tuple[int, float, float, float]]:
    """(accounts, ms a mark with bands, the same with certifying anew, ms of a full recomputation) by size."""
    rows = []
    for accounts in sizes:
        venue = Venue(2)
        population = warm(venue, accounts)
        run = drive(venue, population, accounts, marks, CALM_STEP, {}, CHECK_EVERY)
        both = float((run.found + run.certified).mean())
        rows.append((accounts, float(run.found.mean()), both, float(np.median(run.full))))
        progress(
            f"{accounts:>9,} accounts: bands {rows[-1][1]:.3f} ms, with certifying {both:.3f}, full {rows[-1][3]:.3f}"
        )
    return rows


def plot(rows: list[tuple[int, float, float, float]]) -> str:
    """The growth table as SVG, both axes logarithmic."""
    names = ("bands, every crossing found", "bands, certifying too", "full recomputation")
    lines = [Line(name, [(float(row[0]), row[place]) for row in rows]) for place, name in enumerate(names, 1)]
    return line_plot(lines, "A mark, by accounts (CPU time of one core)", "accounts", "ms", log_y=True)


if __name__ == "__main__":
    table = growth()
    Path(sys.argv[1]).write_text(plot(table), encoding="utf-8")
    for accounts, found, both, full in table:
        print(f"| {accounts:,} | {found:.3f} | {both:.3f} | {full:.3f} |")
