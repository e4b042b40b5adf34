"""Isolated positions: what a mark costs the engine with bands of their marks, and looking at all of them.

Part of `margrave bench margin`; the same records go to an engine with bands and to one without, whose events must be
the same.
"""

import statistics
import sys
import time

import numpy as np

from exchange import commands, config
from exchange.commands import CommandKind
from exchange.engine import Engine
from loadtest.report import Figure

BUCKETS = 20_000
EXPIRIES = 13
LEVERAGES = (300, 500, 1_000, 2_000, 5_000, 10_000)
SPOT_USD = 65_000.0
START_NS = 1_767_225_600 * 10**9
DAY_NS = 86_400 * 10**9
MARKS, CALM_STEP = 200, 0.0003
NEVER = 1 << 62


class Market:
    """Records of owners with an isolated position in each future, and of marks that move."""

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
        shape = {"underlying": "BTC", "settlement": "BTC", "inverse": True, "lot_size_e8": 10 * 10**8}
        shape["price_unit_e8"] = 5 * 10**7
        listed = [config.Instrument(name=self.names[0], kind="perpetual", **shape)]
        for name, expiry in zip(self.names[1:], self.expiry_ns, strict=True):
            listed.append(config.Instrument(name=name, kind="future", expiry_ns=expiry, **shape))
        made = [
            self.stamped(
                commands.cold(
                    CommandKind.GENESIS,
                    config.Config(
                        venue_id="buckets",
                        currencies=(config.Currency(name="BTC", exponent=10, underlying="BTC"),),
                        underlyings=(config.Underlying(name="BTC", index_name="btc_usd"),),
                        instruments=tuple(listed),
                        limits=config.Limits(max_accounts=self.owners * 16 + 16, max_instruments=64),
                    ),
                )
            ),
            self.marks(0.0),
        ]
        account = self._owner(made, 1, 10**6)
        house = account
        for number in range(self.owners):
            account = self._owner(made, account + 1, 100)
            owner = account
            for slot, name in enumerate(self.names):
                mode = config.SetMarginMode(name, "isolated", int(self.rng.choice(LEVERAGES)))
                made.append(self.stamped(commands.cold(CommandKind.SET_MARGIN_MODE, mode, owner)))
                account += 1
                lots = int(np.exp(self.rng.normal(6.0, 1.0))) + 1
                price = round(self.index * 1e8 / shape["price_unit_e8"])
                # sides alternate, so that the house stays near nothing
                for who, side in ((house, (number + slot) % 2), (owner, 1 - (number + slot) % 2)):
                    order = commands.record(
                        CommandKind.PLACE_ORDER, who, instrument=slot, side=side, price_units=price, quantity_lots=lots
                    )
                    made.append(self.stamped(order))
        return b"".join(made)

    def _owner(self, made: list[bytes], account: int, coins: int) -> int:
        payload = config.CreateAccount(name=f"a-{account}", owner_id=0, margin_model="segregated_pm")
        made.append(self.stamped(commands.cold(CommandKind.CREATE_ACCOUNT, payload)))
        deposit = config.Transfer("BTC", coins * 10**10)
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


def figure(buckets: int = BUCKETS, marks: int = MARKS) -> Figure:
    """CPU ms of a mark, repricing 14 futures included, beside that of an engine that looks at everybody."""
    market = Market(buckets, 5)
    genesis = market.genesis()
    engines = []
    for least in (0, NEVER):
        engine = Engine()
        engine.band_accounts = least
        engine.apply_many(genesis)
        engine.take_events()
        engines.append(engine)
    held = sum(len(engines[0].positions(account)) for account in engines[0].account_ids())
    if held < buckets:
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
    note = f"{held:,} isolated positions, {marks} marks, {looked:.0f} accounts looked at in the mean, "
    note += f"{engines[0].monitor.bands.memory_bytes(0)[0] / held:.0f} bytes a position"
    peers = {"looking at all": statistics.mean(waits[1]) / 1e6}
    return Figure(statistics.mean(waits[0]) / 1e6, "ms", None, peers, note)


if __name__ == "__main__":
    print(figure(int(sys.argv[1])))
