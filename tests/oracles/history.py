"""Generated histories for the world of `tests/oracles/world.py`: commands that crowd every rule, from one seed.

The generator sees the engine's events (which orders live, where the marks are) and never its answers in advance, so the
same seed gives the same records as long as the engine behaves the same.
"""

import random
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from exchange import commands, config, payloads
from exchange.commands import CommandKind, OrderFlag, TriggerSource
from exchange.events import EventKind
from tests.oracles import world
from tests.oracles.calendar import next_day_end
from tests.oracles.draws import Placed
from tests.oracles.governing_draws import GoverningDraws
from tests.oracles.waiting_draws import CROWD_EVERY, CROWD_OVER

MODES_AND_MARKS = (
    EventKind.MARGIN_MODE_CHANGED, EventKind.MARK_JUMP, EventKind.BREAKER_TRIPPED, EventKind.OVERRIDE_CHANGED,
)  # fmt: skip
ORDER_EVENTS = (
    EventKind.ORDER_ACCEPTED, EventKind.ORDER_EDITED, EventKind.ORDER_CANCELLED, EventKind.ORDER_TRIGGERED,
    EventKind.TRIGGER_PLACED,
)  # fmt: skip


def stamped(record: bytearray, seq: int, time_ns: int) -> bytes:
    """The record as the sequencer would pass it on."""
    record[8:16] = seq.to_bytes(8, "little")
    record[16:24] = time_ns.to_bytes(8, "little", signed=True)
    return bytes(record)


class History(GoverningDraws):
    """An endless iterator of stamped records; tell it each command's events through `saw`.

    Without `ticks`, Ticks come only where they neither settle nor liquidate anything. Every `leap_every` commands the
    time leaps to the end of the trading day. Accounts begin with `wealth` times what the world gives. Of what goes
    beyond common orders only `features` are drawn; `combos` are listed after the first marks.
    """

    def __init__(
        self, seed: int, ticks: bool = False, configuration: config.Config | None = None, leap_every: int = 0,
        wealth: int = 1, features: tuple[str, ...] = (), combos: tuple[config.Instrument, ...] = (),
    ) -> None:  # fmt: skip
        self.random = random.Random(seed)
        self.ticks = ticks
        self.leap_every = leap_every
        self.wealth = wealth
        self.features = features
        self.config = configuration or world.configuration()
        self.specs = dict(enumerate(self.config.instruments))
        self.pending: list[config.Instrument] = []
        self.seq = 0
        self.time_ns = world.START_NS
        self.live: dict[int, Placed] = {}
        self.left: dict[int, int] = {}
        self.waiting: dict[int, Placed] = {}
        self.parts: dict[int, int] = {}
        self.iceberg: set[int] = set()
        self.advanced: dict[int, int] = {}
        self.stopped: set[tuple[str, str]] = set()
        self.blocked: list[tuple[int, int, int, str]] = []
        self.gone: list[int] = []
        self.index = {0: 97_000.0, 1: 3_300.0}
        self.shut = ""
        self.jumped: tuple[int, float] | None = None
        self.premium = 0.01
        self.vol = 0.55
        self.account_count = len(world.accounts())
        self.opening = self._opening(combos)
        self.breached: set[int] = set()
        self.auctions: dict[int, tuple[int, int]] = {}
        self.leases: dict[int, tuple[int, int]] = {}
        self.held: dict[int, int] = {}
        self.paused: dict[int, int] = {}
        self.proposed: dict[int, int] = {}
        self.in_force: set[int] = set()
        self.settling: list[tuple[int, int, int]] = []
        self.between: list[tuple[int, payloads.SubmitTransfer]] = []
        """Transfers with a nonce that were asked for."""
        self.holders: dict[int, int] = {}
        """Of every bucket."""
        self.isolated: dict[int, int] = {}
        """Slot that each bucket is for."""

    def _opening(self, combos: tuple[config.Instrument, ...]) -> list[bytearray]:
        self.pending = list(combos)
        out = [commands.cold(CommandKind.GENESIS, self.config)]
        out += [commands.cold(CommandKind.CREATE_ACCOUNT, account) for account in world.accounts()]
        for account_id in range(1, self.account_count + 1):
            for currency in ("BTC", "USDC", "ETH"):
                amount = world.deposit_minor(currency) * self.wealth
                transfer = config.Transfer(currency=currency, amount_minor=amount, reference=account_id)
                out.append(commands.cold(CommandKind.DEPOSIT, transfer, account_id))
        if self.ticks:
            for currency in ("BTC", "USDC", "ETH"):
                endowment = config.Transfer(currency=currency, amount_minor=world.deposit_minor(currency))
                out.append(commands.cold(CommandKind.ENDOW_FUND, endowment))
        out += [self._order(1, 0), self.marks(0)]
        out += [self._order(1, 9) for _ in range(3)]
        if combos:
            out.append(commands.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments(instruments=combos)))
        return out + [self.marks(1)] + (self._first_modes() if "isolated" in self.features else [])

    def next(self) -> bytes:
        """The next record."""
        self.seq += 1
        if self.seq <= len(self.opening):
            record = self.opening[self.seq - 1]
        else:
            self.time_ns += self.random.choice((0, 10**6, 5 * 10**8, 10**9, 2 * 10**9))
            if self.leap_every and self.seq % self.leap_every == 0:
                self.time_ns = next_day_end(self.time_ns) - 10 * 10**9
            record = self._draw()
        return stamped(record, self.seq, self.time_ns)

    def saw(self, events: Iterable[tuple[EventKind, Any, Any]]) -> None:
        """Follow orders, breaches and auctions from the last command's events."""
        for kind, event, tail in events:
            if kind in ORDER_EVENTS:
                self._follow_order(kind, event, tail)
            elif kind == EventKind.TRADE_EXECUTED and event["maker_order_id"]:
                for role in ("taker", "maker"):
                    order_id = int(event[f"{role}_order_id"])
                    self.left[order_id] -= int(event["quantity_lots"])
                    if self.left[order_id] == 0:
                        self._drop(order_id)
            elif kind == EventKind.LEVEL_CHANGED:
                note = self.breached.add if event["level"] == 2 else self.breached.discard
                note(int(event["account_id"]))
            elif kind in (EventKind.AUCTION_OPENED, EventKind.AUCTION_PHASE_CHANGED):
                self.auctions[int(event["auction_id"])] = (int(event["phase"]), int(event["price_minor"]))
            elif kind == EventKind.AUCTION_CLOSED:
                self.auctions.pop(int(event["auction_id"]), None)
            elif kind in MODES_AND_MARKS:
                self._follow_governance(kind, event)
            elif kind == EventKind.BLOCK_TRADE_EXECUTED:
                self.blocked.append(self.tried)
            elif kind == EventKind.INSTRUMENT_SETTLED:
                del self.specs[int(event["instrument"])]
            elif kind == EventKind.INSTRUMENT_LISTED and self.pending and int(event["instrument"]) not in self.specs:
                self.specs[int(event["instrument"])] = self.pending.pop(0)
            elif kind in (EventKind.FUND_LEASE_REQUESTED, EventKind.FUND_LEASE_SETTLED):
                self._follow_lease(kind, event)

    def _follow_order(self, kind: EventKind, event: Any, tail: memoryview) -> None:
        order_id = int(event["order_id"])
        if kind == EventKind.ORDER_ACCEPTED:
            self._keep(event, int(event["quantity_lots"]))
            if event["flags"] & OrderFlag.ICEBERG:
                self.iceberg.add(order_id)
            if event["flags"] & OrderFlag.ADVANCED:
                self.advanced[order_id] = int(np.frombuffer(tail, commands.ORDER_TERMS, 1)["advanced"][0])
        elif kind == EventKind.TRIGGER_PLACED or (kind == EventKind.ORDER_EDITED and order_id in self.waiting):
            self.waiting[order_id] = self._placed(event)
        elif kind == EventKind.ORDER_TRIGGERED:
            self._fired(int(event["trigger_order_id"]), event)
        elif kind == EventKind.ORDER_EDITED:
            self._keep(event, int(event["remaining_lots"]))
        elif kind == EventKind.ORDER_CANCELLED:
            self._drop(order_id)

    def _fired(self, order_id: int, event: Any) -> None:
        """A secondary order waits on until all of it is placed."""
        if event["trigger_source"] == TriggerSource.PRIMARY_ORDER:
            self.parts[order_id] = self.parts.get(order_id, 0) + int(event["value_e8"])
            if self.parts[order_id] < self.waiting[order_id][4]:
                return
        del self.waiting[order_id]

    def _follow_lease(self, kind: EventKind, event: Any) -> None:
        lease_id, amount, currency = (int(event[name]) for name in ("lease_id", "amount_minor", "currency"))
        if kind == EventKind.FUND_LEASE_REQUESTED:
            self.leases[lease_id] = (amount, currency)
        else:
            self.leases.pop(lease_id, None)
            self.settling.append((lease_id, amount, currency))

    def _placed(self, event: Any) -> Placed:
        names = ("instrument", "side", "price_units", "quantity_lots")
        account_id = int(event["account_id"])
        return (self.holders.get(account_id, account_id), *(int(event[name]) for name in names))

    def _keep(self, event: Any, remaining: int) -> None:
        order_id = int(event["order_id"])
        self.left[order_id] = remaining
        self.live[order_id] = self._placed(event)

    def _drop(self, order_id: int) -> None:
        if self.waiting.pop(order_id, None) is None:
            del self.live[order_id], self.left[order_id]
            self.iceberg.discard(order_id)
            self.advanced.pop(order_id, None)
        self.gone.append(order_id)

    # ------------------------------------------------------------------ draws

    @property
    def crowded(self) -> bool:
        """From time to time everybody only adds orders."""
        return self.seq % 6_000 > 5_500

    @property
    def quiet(self) -> bool:
        """Whether a Tick would neither settle nor liquidate anything."""
        return not self.breached and all(
            self.time_ns < spec.expiry_ns for spec in self.specs.values() if spec.expiry_ns
        )

    def _draw(self) -> bytearray:
        since_crowd = self.seq % CROWD_EVERY - CROWD_OVER
        if since_crowd == 0:
            self.index[0] *= 1.008
            return self.marks(0)
        ending = [slot for slot, spec in self.specs.items() if spec.expiry_ns]
        leapt = self.seq % self.leap_every if self.leap_every else 0
        if ending and 0 < leapt <= 2:  # marks are stale after a leap
            return self.marks(leapt - 1)
        if ending and 0 < leapt <= 6:  # so that some rest to the end
            return self._passive(self.random.randint(1, self.account_count), self.random.choice(ending))
        kinds = [
            (self._order_of_anybody, 640), (self._cancel, 2 if self.crowded else 90), (self._edit, 110),
            (self._cancel_all, 10), (self._wait, 70), (self._edit_waiting, 25), (self._self_trade, 5),
            (self._any_marks, 45), (self._deposit, 16), (self._withdraw, 22), (self._state, 8), (self._model, 8),
            (self._bad_cold, 4),
        ]  # fmt: skip
        kinds += [entry for feature in self.features for entry in self._special(feature)]
        if self.ticks and self.pending == [] and len(self.specs) < len(self.config.instruments):
            return self._relist()
        if (self.leases or self.settling) and self.random.random() < 0.2:
            return self._lease()
        if self.gathering:
            kinds = [(self._wait, 1)]
        elif 0 < since_crowd < 40:
            kinds = [(self._edit_waiting, 3), (self._cancel, 1), (self._order_of_anybody, 4), (self._any_marks, 1)]
        if self.ticks:
            kinds += [(self._tick, 60), (self._bid, 25), (self._lease, 15)]
        elif self.quiet:
            kinds += [(self._tick, 25 if len(kinds) > 4 else 1)]
        makers, weights = zip(*kinds, strict=True)
        return self.random.choices(makers, weights)[0]()

    def _special(self, feature: str) -> list[tuple[Callable[[], bytearray], int]]:
        """Draws of a feature with their weights."""
        return {
            "icebergs": [(self._iceberg, 45), (self._edit_terms, 25)],
            "linked": [(self._link, 35)],
            "advanced": [(self._advance, 30), (self._edit_terms, 10)],
            "quotes": [
                (self._quote, 90), (self._protected, 20),
                (self._cancel_quotes, 8), (self._protect, 7), (self._reset, 4),
            ],
            "switches": [(self._kill, 4), (self._prefer, 1)],
            "auctions": [(self._auction, 10)],
            "combos": [],
            "governance": [(self._propose, 10 + 20 * bool(self.held)), (self._decide, 16), (self._announce, 4)],
            "blocks": [(self._block, 14)],
            "transfers": [(self._between, 18)],
            "isolated": [(self._mode, 14), (self._collateral, 14), *[(self._oppose, 40)] * self.ticks],
        }[feature]  # fmt: skip

    # ------------------------------------------------------------------ marks

    def _any_marks(self) -> bytearray:
        """A walk pulled back to where it began, with jumps; some too wide to be believed at once."""
        r = self.random
        u = r.choices((0, 1), (3, 1))[0]
        if self.jumped and r.random() < 0.6:
            u, self.index[u] = self.jumped
            self.jumped = None
            return self.marks(u)
        pull = (97_000.0, 3_300.0)[u] / self.index[u] - 1
        move = r.gauss(0.1 * pull, 0.004)
        if r.random() < (0.2 if self.ticks else 0.1):
            move += r.choice((-1, 1)) * r.uniform(0.03, 0.12)
        self.vol = min(1.5, max(0.25, self.vol + r.gauss(0, 0.02)))
        self.premium = min(0.03, max(-0.03, self.premium + r.gauss(0, 0.002)))
        if r.random() < (0.1 if self.ticks else 0.03):
            self.jumped = (u, self.index[u] * (1 + r.choice((-0.22, 0.25))))
            return self.marks(u, self.jumped[1])
        self.index[u] *= 1 + move
        record = self.marks(u)
        return self._wrong_marks(record) if r.random() < 0.06 else record

    def marks(self, u: int, index: float = 0.0) -> bytearray:
        """A whole surface of underlying `u` at the walk's index or another."""
        index_e8 = round((index or self.index[u]) * 1e8)
        expiries = sorted({s.expiry_ns for s in self.specs.values() if s.expiry_ns}) if u == 0 else []
        forwards = [(e, round(index_e8 * (1 + self.premium * (e == expiries[-1])))) for e in expiries]
        vols = [
            (slot, round((self.vol + slot * 0.01) * 1e6))
            for slot, spec in sorted(self.specs.items())
            if spec.option_type == "call" and u == 0
        ]
        sources = self.random.choice((0, 1, 2, 2, 4, 3))
        return commands.update_marks(u, index_e8, self.time_ns, forwards, vols, sources)

    def _wrong_marks(self, record: bytearray) -> bytearray:
        view = np.frombuffer(record, commands.UPDATE_MARKS, 1)
        forwards = int(view["forward_count"][0])
        wrong = self.random.randrange(7)
        if wrong == 0:
            view["underlying"] = 7
        elif wrong == 1:
            view["index_price_e8"] = self.random.choice((0, 10**18, 1, 10**17))
        elif wrong == 2:
            view["vol_count"] = 10_000
        elif wrong == 6 and forwards:
            entry = np.frombuffer(record, commands.FORWARD_ENTRY, forwards, commands.SLOT_BYTES)
            entry["forward_e8"][-1] = self.random.choice((0, 1, 10**17))
        elif forwards:
            at = commands.SLOT_BYTES + forwards * commands.FORWARD_ENTRY.itemsize
            entry = np.frombuffer(record, commands.VOL_ENTRY, 1, at)
            field, value = (("instrument", 0), ("instrument", 60), ("vol_e6", 0))[wrong - 3]
            entry[field] = value
        return record
