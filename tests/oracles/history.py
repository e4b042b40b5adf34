"""Generated histories for the world of `tests/oracles/world.py`: commands that crowd every rule, from one seed.

The generator sees the engine's events (which orders live, where the marks are) and never its answers in advance, so the
same seed gives the same records as long as the engine behaves the same.
"""

import random
from collections.abc import Iterable
from typing import Any

import numpy as np

from exchange import commands, config
from exchange.commands import CommandKind
from exchange.events import EventKind
from tests.oracles import world
from tests.oracles.draws import OrderDraws, Placed


def stamped(record: bytearray, seq: int, time_ns: int) -> bytes:
    """The record as the sequencer would pass it on."""
    record[8:16] = seq.to_bytes(8, "little")
    record[16:24] = time_ns.to_bytes(8, "little", signed=True)
    return bytes(record)


class History(OrderDraws):
    """An endless iterator of stamped records; tell it each command's events through `saw`."""

    def __init__(self, seed: int, ticks: bool = False, configuration: config.Config | None = None) -> None:
        self.random = random.Random(seed)
        self.ticks = ticks
        self.config = configuration or world.configuration()
        self.specs = dict(enumerate(self.config.instruments))
        self.pending: list[config.Instrument] = []
        self.seq = 0
        self.time_ns = world.START_NS
        self.live: dict[int, Placed] = {}
        self.left: dict[int, int] = {}
        self.gone: list[int] = []
        self.index = {0: 97_000.0, 1: 3_300.0}
        self.shut = ""
        self.jumped: tuple[int, float] | None = None
        self.premium = 0.01
        self.vol = 0.55
        self.account_count = len(world.accounts())
        self.opening = self._opening()
        self.breached: set[int] = set()
        self.auctions: dict[int, tuple[int, int]] = {}
        self.leases: dict[int, tuple[int, int]] = {}
        self.settling: list[tuple[int, int, int]] = []

    def _opening(self) -> list[bytearray]:
        out = [commands.cold(CommandKind.GENESIS, self.config)]
        out += [commands.cold(CommandKind.CREATE_ACCOUNT, account) for account in world.accounts()]
        for account_id in range(1, self.account_count + 1):
            for currency in ("BTC", "USDC", "ETH"):
                amount = world.deposit_minor(currency)
                transfer = config.Transfer(currency=currency, amount_minor=amount, reference=account_id)
                out.append(commands.cold(CommandKind.DEPOSIT, transfer, account_id))
        if self.ticks:
            for currency in ("BTC", "USDC", "ETH"):
                endowment = config.Transfer(currency=currency, amount_minor=world.deposit_minor(currency))
                out.append(commands.cold(CommandKind.ENDOW_FUND, endowment))
        out += [self._order(1, 0), self.marks(0)]
        out += [self._order(1, 9) for _ in range(3)]
        return out + [self.marks(1)]

    def next(self) -> bytes:
        """The next record."""
        self.seq += 1
        if self.seq <= len(self.opening):
            record = self.opening[self.seq - 1]
        else:
            self.time_ns += self.random.choice((0, 10**6, 5 * 10**8, 10**9, 2 * 10**9))
            record = self._draw()
        return stamped(record, self.seq, self.time_ns)

    def saw(self, events: Iterable[tuple[EventKind, Any, Any]]) -> None:
        """Follow live orders, breaches and auctions from the last command's events."""
        for kind, event, _ in events:
            if kind == EventKind.ORDER_ACCEPTED:
                self._keep(event, int(event["account_id"]), int(event["quantity_lots"]))
            elif kind == EventKind.ORDER_EDITED:
                self.left.pop(int(event["order_id"]))
                self._keep(event, int(event["account_id"]), int(event["remaining_lots"]))
            elif kind == EventKind.TRADE_EXECUTED:
                for role in ("taker", "maker"):
                    order_id = int(event[f"{role}_order_id"])
                    self.left[order_id] -= int(event["quantity_lots"])
                    if self.left[order_id] == 0:
                        self._drop(order_id)
            elif kind == EventKind.ORDER_CANCELLED:
                self._drop(int(event["order_id"]))
            elif kind == EventKind.LEVEL_CHANGED:
                note = self.breached.add if event["level"] == 2 else self.breached.discard
                note(int(event["account_id"]))
            elif kind in (EventKind.AUCTION_OPENED, EventKind.AUCTION_PHASE_CHANGED):
                self.auctions[int(event["auction_id"])] = (int(event["phase"]), int(event["price_minor"]))
            elif kind == EventKind.AUCTION_CLOSED:
                self.auctions.pop(int(event["auction_id"]), None)
            elif kind == EventKind.INSTRUMENT_SETTLED:
                del self.specs[int(event["instrument"])]
            elif kind == EventKind.INSTRUMENT_LISTED and self.pending:
                self.specs[int(event["instrument"])] = self.pending.pop(0)
            elif kind in (EventKind.FUND_LEASE_REQUESTED, EventKind.FUND_LEASE_SETTLED):
                self._follow_lease(kind, event)

    def _follow_lease(self, kind: EventKind, event: Any) -> None:
        lease_id, amount, currency = (int(event[name]) for name in ("lease_id", "amount_minor", "currency"))
        if kind == EventKind.FUND_LEASE_REQUESTED:
            self.leases[lease_id] = (amount, currency)
        else:
            self.leases.pop(lease_id, None)
            self.settling.append((lease_id, amount, currency))

    def _keep(self, event: Any, account_id: int, remaining: int) -> None:
        order_id = int(event["order_id"])
        self.left[order_id] = remaining
        self.live[order_id] = (
            account_id, int(event["instrument"]), int(event["side"]), int(event["price_units"]),
            int(event["quantity_lots"]),
        )  # fmt: skip

    def _drop(self, order_id: int) -> None:
        del self.live[order_id], self.left[order_id]
        self.gone.append(order_id)

    # ------------------------------------------------------------------ draws

    @property
    def crowded(self) -> bool:
        """From time to time everybody only adds orders."""
        return self.seq % 6_000 > 5_500

    def _draw(self) -> bytearray:
        kinds = [
            (self._order_of_anybody, 640), (self._cancel, 2 if self.crowded else 90), (self._edit, 110),
            (self._cancel_all, 10),
            (self._any_marks, 45), (self._deposit, 16), (self._withdraw, 22), (self._state, 8), (self._model, 8),
            (self._bad_cold, 4),
        ]  # fmt: skip
        if self.ticks and self.pending == [] and len(self.specs) < len(self.config.instruments):
            return self._relist()
        if (self.leases or self.settling) and self.random.random() < 0.2:
            return self._lease()
        if self.ticks:
            kinds += [(self._tick, 60), (self._bid, 25), (self._lease, 15)]
        makers, weights = zip(*kinds, strict=True)
        return self.random.choices(makers, weights)[0]()

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
        return commands.update_marks(u, index_e8, self.time_ns, forwards, vols)

    def _wrong_marks(self, record: bytearray) -> bytearray:
        view = np.frombuffer(record, commands.UPDATE_MARKS, 1)
        forwards = int(view["forward_count"][0])
        wrong = self.random.randrange(6)
        if wrong == 0:
            view["underlying"] = 7
        elif wrong == 1:
            view["index_price_e8"] = self.random.choice((0, 10**18))
        elif wrong == 2:
            view["vol_count"] = 10_000
        elif forwards:
            at = commands.SLOT_BYTES + forwards * commands.FORWARD_ENTRY.itemsize
            entry = np.frombuffer(record, commands.VOL_ENTRY, 1, at)
            field, value = (("instrument", 0), ("instrument", 60), ("vol_e6", 0))[wrong - 3]
            entry[field] = value
        return record

    # ------------------------------------------------------------------ money and administration

    def _deposit(self) -> bytearray:
        currency = self.random.choice(("BTC", "USDC", "ETH"))
        amount = round(world.deposit_minor(currency) * self.random.uniform(0.05, 0.6))
        return self._transfer(CommandKind.DEPOSIT, currency, amount)

    def _withdraw(self) -> bytearray:
        currency = self.random.choice(("BTC", "USDC", "ETH"))
        amount = round(world.deposit_minor(currency) * self.random.uniform(0.05, 0.5))
        return self._transfer(CommandKind.WITHDRAW, currency, amount)

    def _transfer(self, kind: CommandKind, currency: str, amount: int) -> bytearray:
        transfer = config.Transfer(currency=currency, amount_minor=amount, reference=self.seq)
        return commands.cold(kind, transfer, self._account())

    def _bad_cold(self) -> bytearray:
        r = self.random
        kind = r.choice((CommandKind.DEPOSIT, CommandKind.WITHDRAW))
        wrong = r.randrange(6)
        if wrong == 0:
            return commands.cold(CommandKind.CREATE_ACCOUNT, config.CreateAccount(name="account-3"))
        if wrong == 1:
            return commands.cold(CommandKind.SET_INSTRUMENT_STATE, config.InstrumentState(name="NONE", state="open"))
        transfer = config.Transfer(
            currency="XRP" if wrong == 2 else "BTC",
            amount_minor=(1, 0, 2**60)[(wrong - 2) % 3],
            reference=1,
        )
        return commands.cold(kind, transfer, 99 if wrong == 5 else self._account())

    def _state(self) -> bytearray:
        """Shut something, or open what is shut."""
        state = "open" if self.shut else self.random.choice(("halted", "close_only"))
        name = self.shut or self.random.choice(sorted(self.specs.items()))[1].name
        self.shut = "" if self.shut else name
        return commands.cold(CommandKind.SET_INSTRUMENT_STATE, config.InstrumentState(name=name, state=state))

    def _model(self) -> bytearray:
        model = self.random.choice(config.MARGIN_MODELS)
        account_id = self._account() if self.random.random() < 0.95 else 99
        return commands.cold(CommandKind.CHANGE_MARGIN_MODEL, config.ChangeMarginModel(margin_model=model), account_id)

    # ------------------------------------------------------------------ listing, liquidation

    def _relist(self) -> bytearray:
        """The short pair again, three hours on."""
        expiry_ns = self.time_ns + 3 * world.HOUR_NS
        self.pending = [
            world.option(f"BTC-{self.seq}-SHORT-{kind}", 95_000, expiry_ns, kind) for kind in ("call", "put")
        ]
        listed = config.ListInstruments(instruments=tuple(self.pending))
        return commands.cold(CommandKind.LIST_INSTRUMENTS, listed)

    def _tick(self) -> bytearray:
        return commands.record(CommandKind.TICK)

    def _bid(self) -> bytearray:
        r = self.random
        auction_id, (phase, price) = r.choice(sorted(self.auctions.items())) if self.auctions else (99, (1, 0))
        limit = price + round(abs(price) * r.choice((-0.2, 0, 0.02, 0.2)))
        return commands.record(
            CommandKind.PLACE_BID, self._account(), auction_id=auction_id, phase=phase,
            share_ppm=r.choice((100_000, 500_000, 1_000_000)), limit_minor=limit, key_id=1,
        )  # fmt: skip

    def _lease(self) -> bytearray:
        """The fund worker: mostly all that was asked, sometimes less; then the confirmation of what was used."""
        r = self.random
        if self.settling:
            lease_id, used, currency = self.settling.pop()
            return commands.record(CommandKind.SETTLE_FUND_LEASE, lease_id=lease_id, used_minor=used, currency=currency)
        lease_id, (amount, currency) = self.leases.popitem() if self.leases else (99, (0, 0))
        given = round(amount * r.choice((0, 0.1, 1, 1, 1)))
        return commands.record(
            CommandKind.GRANT_FUND_LEASE, lease_id=lease_id, amount_minor=given, currency=currency,
            exhausted=given < amount,
        )  # fmt: skip
