"""What a mark costs the engine with bands, and looking at all: isolated positions, or accounts of another model.

The first is part of `margrave bench margin`; others: `python -m loadtest.bench_buckets COUNT [MODEL [charged]]`.
The same records go to an engine with bands and to one without, whose events must be the same.
"""

import statistics
import sys
import time
from typing import Any

import numpy as np

from exchange import commands, config
from exchange.commands import CommandKind
from exchange.engine import Engine
from exchange.parameters import Concentration, Peg, RateTier
from loadtest.report import Figure

BUCKETS = 20_000
EXPIRIES = 13
LEVERAGES = (300, 500, 1_000, 2_000, 5_000, 10_000)
SPOT_USD = 65_000.0
START_NS = 1_767_225_600 * 10**9
DAY_NS = 86_400 * 10**9
MARKS, CALM_STEP = 200, 0.0003
NEVER = 1 << 62
LOT: dict[str, Any] = {
    "underlying": "BTC",
    "settlement": "BTC",
    "inverse": True,
    "lot_size_e8": 10 * 10**8,
    "price_unit_e8": 5 * 10**7,
}
EACH = 4
"""Positions of an account that is no bucket."""
CHARGES = {
    "future_initial_ppm": 10_000,
    "future_maintenance_ppm": 5_000,
    "settlement_basis_ppm": 5_000,
    "peg": Peg(tiers=(RateTier(above_usd=0, rate_ppm=1_000),)),
    "concentration": Concentration(),
}


class Market:
    """Records of owners with an isolated position in each future, and of marks that move."""

    matrix = config.MatrixParameters()

    def __init__(self, buckets: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.time_ns = START_NS
        self.index = SPOT_USD
        self.seq = 0
        self.expiry_ns = [START_NS + (20 + 30 * number) * DAY_NS for number in range(EXPIRIES)]
        self.names = ["BTC-PERPETUAL", *(f"BTC-{number}" for number in range(EXPIRIES))]
        self.owners = -(-buckets // len(self.names))

    def genesis(self) -> bytes:
        """The venue, its accounts and their positions."""
        listed = [config.Instrument(name=self.names[0], kind="perpetual", **LOT)]
        for name, expiry in zip(self.names[1:], self.expiry_ns, strict=True):
            listed.append(config.Instrument(name=name, kind="future", expiry_ns=expiry, **LOT))
        made = [
            self.stamped(
                commands.cold(
                    CommandKind.GENESIS,
                    config.Config(
                        venue_id="buckets",
                        currencies=(config.Currency(name="BTC", exponent=10, underlying="BTC"),),
                        underlyings=(config.Underlying(name="BTC", index_name="btc_usd", matrix=self.matrix),),
                        instruments=tuple(listed),
                        limits=config.Limits(max_accounts=self.owners * 16 + 16, max_instruments=64),
                    ),
                )
            ),
            self.marks(0.0),
        ]
        self.populate(made, self._owner(made, 1, 10**6))
        return b"".join(made)

    def populate(self, made: list[bytes], house: int) -> None:
        """Owners of an isolated position in each future, against the house."""
        account = house
        for number in range(self.owners):
            owner = account = self._owner(made, account + 1, 100)
            for slot, name in enumerate(self.names):
                mode = config.SetMarginMode(name, "isolated", int(self.rng.choice(LEVERAGES)))
                made.append(self.stamped(commands.cold(CommandKind.SET_MARGIN_MODE, mode, owner)))
                account += 1
                self._trade(made, house, owner, slot, number + slot, int(np.exp(self.rng.normal(6.0, 1.0))) + 1)

    def _trade(self, made: list[bytes], house: int, owner: int, slot: int, turn: int, lots: int) -> None:
        """Sides alternate, so that the house stays near nothing."""
        price = round(self.index * 1e8 / LOT["price_unit_e8"])
        for who, side in ((house, turn % 2), (owner, 1 - turn % 2)):
            order = commands.record(
                CommandKind.PLACE_ORDER, who, instrument=slot, side=side, price_units=price, quantity_lots=lots
            )
            made.append(self.stamped(order))

    def _owner(self, made: list[bytes], account: int, coins: float, model: config.MarginModel = "segregated_pm") -> int:
        payload = config.CreateAccount(name=f"a-{account}", owner_id=0, margin_model=model)
        made.append(self.stamped(commands.cold(CommandKind.CREATE_ACCOUNT, payload)))
        deposit = config.Transfer("BTC", round(coins * 10**10))
        made.append(self.stamped(commands.cold(CommandKind.DEPOSIT, deposit, account)))
        return account

    def stamped(self, record: bytearray) -> bytes:
        self.seq += 1
        record[8:16] = self.seq.to_bytes(8, "little")
        record[16:24] = self.time_ns.to_bytes(8, "little")
        return bytes(record)

    def marks(self, step: float) -> bytes:
        """Ten seconds later: the index and every forward have moved."""
        self.time_ns += 10 * 10**9
        self.index *= float(np.exp(step * self.rng.normal()))
        basis = self.rng.normal(0.0, step * 0.05, EXPIRIES)
        forwards = [(t, round(self.index * (1 + b) * 1e8)) for t, b in zip(self.expiry_ns, basis, strict=True)]
        return self.stamped(commands.update_marks(0, round(self.index * 1e8), self.time_ns, forwards, []))


class Members(Market):
    """Accounts of one margin model with a few futures each, long and short, few of them near their warning."""

    def __init__(self, positions: int, seed: int, model: config.MarginModel, charged: bool) -> None:
        super().__init__(positions, seed)
        self.model, self.charged = model, charged
        self.members = -(-positions // EACH)
        if charged:
            self.matrix = config.MatrixParameters(**CHARGES)

    def populate(self, made: list[bytes], house: int) -> None:
        for number in range(self.members):
            chosen = self.rng.choice(len(self.names), EACH, replace=False)
            lots = np.exp(self.rng.normal(6.0, 1.0, EACH)).astype(int) + 1
            coins = float(lots.sum()) * 10 / self.index
            cost = 0.025 if self.model.endswith("_sm") else 0.22
            equity = coins * cost * float(np.exp(abs(self.rng.normal(0.3, 0.8))))
            owner = self._owner(made, house + 1 + number, equity, self.model)
            for turn, (slot, size) in enumerate(zip(chosen, lots, strict=True)):
                self._trade(made, house, owner, int(slot), number + turn, int(size))


def figure(buckets: int = BUCKETS, marks: int = MARKS, market: Market | None = None) -> Figure:
    """CPU ms of a mark, repricing 14 futures included, beside that of an engine that looks at everybody."""
    market = market or Market(buckets, 5)
    genesis = market.genesis()
    engines = []
    for least in (0, NEVER):
        engine = Engine()
        engine.band_accounts = least
        engine.apply_many(genesis)
        engine.take_events()
        engines.append(engine)
    held = sum(len(engines[0].positions(account)) for account in engines[0].account_ids())
    if held < 0.9 * buckets:  # some orders of other models are more than their margin allows
        raise RuntimeError(f"{held} positions where {buckets} are wanted")
    # each mark certifies 4,096: until all have a band
    for _ in range(2 * buckets // 4_096 + 4):
        record = market.marks(0.00002)
        for engine in engines:
            engine.apply(record)
    before = engines[0].monitor.bands.statistics()[1]
    waits: list[list[int]] = [[], []]
    for _ in range(marks):
        record = market.marks(CALM_STEP)
        for engine, found in zip(engines, waits, strict=True):
            engine.take_events()
            began = time.thread_time_ns()
            engine.apply(record)
            found.append(time.thread_time_ns() - began)
    if engines[0].event_chain() != engines[1].event_chain():
        raise RuntimeError("the events with bands differ from those without")
    looked = (engines[0].monitor.bands.statistics()[1] - before) / marks
    note = f"{held:,} positions, {marks} marks, {looked:.0f} accounts looked at in the mean, "
    note += f"{engines[0].monitor.bands.memory_bytes(0)[0] / held:.0f} bytes a position"
    peers = {"looking at all": statistics.mean(waits[1]) / 1e6}
    return Figure(statistics.mean(waits[0]) / 1e6, "ms", None, peers, note)


if __name__ == "__main__":
    count, *others = sys.argv[1:]
    print(figure(int(count), market=Members(int(count), 5, others[0], "charged" in others) if others else None))
