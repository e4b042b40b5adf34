"""The engine answers every kind of command, however hostile: orders with terms, quotes, links, states, blocks, combos.

Like `test_engine_fuzz.py`, with the commands that it does not draw; payloads of cold commands are also damaged, field
by field, and cut. Safe bands are forced on in some runs. The audit stays clean and a replay gives the same state.
"""

import struct
from typing import Any

import msgspec
import pytest

from exchange import commands, config, payloads
from exchange.commands import CommandKind
from exchange.engine import Engine
from tests.driver import DAY, SECOND
from tests.hostile import HostileFuzz
from tests.properties.test_engine_fuzz import listing

NAMES = [item.name for item in listing()]
JUNK: tuple[Any, ...] = (
    None, True, "", "x" * 300, "BTC", [], {}, 1.5, -1, 0, 1, 255, 256, 1 << 16, 1 << 31, 1 << 32, (1 << 63) - 1,
    1 << 63, (1 << 64) - 1, -(1 << 63),
)  # fmt: skip


class SpecialFuzz(HostileFuzz):
    """Draws every kind of command a client or the operator can send."""

    def protection(self) -> bytes:
        draw = self.draw
        underlying, group = draw.choice(("BTC", "BTC", "ETH", "X")), draw.choice((1, 1, 2, 3, self.extreme()))
        if draw.random() < 0.4:
            return self.cold(CommandKind.RESET_PROTECTION, payloads.ResetProtection(underlying, group), self.account())
        limits = [self.rare(draw.choice((0, 10**6, 10**8, 10**11)), 0.05) for _ in range(4)]
        value = payloads.Protection(
            underlying, group, self.rare(draw.choice((0, SECOND, SECOND, SECOND, 30 * SECOND))),
            draw.choice((0, SECOND, self.extreme())),
            *limits, draw.choice(("", "name", "n" * 100)),
        )  # fmt: skip
        return self.cold(CommandKind.SET_PROTECTION, value, self.account())

    # ------------------------------------------------------------------ cold commands

    def cold(self, kind: CommandKind, value: Any, account_id: int = 0) -> bytes:
        """The command, now and then with a damaged payload."""
        if self.draw.random() < 0.15:
            value = msgspec.msgpack.decode(msgspec.msgpack.encode(value))
            self.damage(value)
        made = commands.cold(kind, value, account_id)
        if self.draw.random() < 0.02:
            struct.pack_into("<I", made, 24, self.draw.choice((0, 1, 10, 500, 0xFFFFFFFF)))
        if self.draw.random() < 0.02:
            made[32 + self.draw.randrange(len(made) - 32)] = self.draw.getrandbits(8)
        return bytes(made)

    def damage(self, value: Any) -> None:
        """Junk in place of one field, at any depth."""
        draw = self.draw
        keys = sorted(value) if isinstance(value, dict) else range(len(value))
        if not keys:
            return
        key = draw.choice(keys)
        if isinstance(value[key], dict | list) and value[key] and draw.random() < 0.8:
            self.damage(value[key])
        else:
            value[key] = draw.choice(JUNK)

    def linked(self) -> bytes:
        draw = self.draw
        link = draw.choice((1, 2, 3, 3, 9))
        base, side, orders = self.slot(), draw.getrandbits(1), []
        for place in range(draw.choice((*[{1: 2, 2: 2}.get(link, 3)] * 12, 0, 1, 4))):
            slot = base if draw.random() < 0.8 else self.slot()
            level = round(self.index[0] * draw.uniform(0.95, 1.05) * 1e8)
            kind = draw.choice((0, 0, 0, 1, 2, 3, 4, 5, 6, 7) if place else (0, 0, 0, 0, 2, 5))
            orders.append(payloads.LinkedOrder(
                instrument=slot, side=side if place == 0 or draw.random() < 0.2 else 1 - side,
                quantity_lots=self.lots(),
                price_units=self.price(slot), order_type=kind, time_in_force=draw.choice((*[0] * 20, 1, 2, 3, 9)),
                flags=draw.choice((0, 0, 0, 0, 0, 0, 4, 1, 255)),
                trigger_price_e8=self.rare(level if 3 <= kind < 7 else 0),
                trigger_offset_e8=self.rare(level // 500 if kind == 7 else 0),
                trigger_source=draw.choice((0, 0, 1, 2, 3)),
            ))  # fmt: skip
        value = payloads.PlaceLinked(link, draw.choice((0, 1, 2, 2, 7)), 3, tuple(orders), self.rare(0, 0.01))
        return self.cold(CommandKind.PLACE_LINKED, value, self.account())

    def kill(self) -> bytes:
        """Mostly off: what stays on refuses everything else."""
        draw = self.draw
        scope = draw.choice(("venue", "underlying", "owner", "account", "account"))
        meant = {"venue": "", "underlying": draw.choice(("BTC", "ETH")), "owner": str(draw.randrange(4))}
        target = meant.get(scope, f"a{draw.randrange(1, 25)}")
        if draw.random() < 0.2:
            target = draw.choice(("", "BTC", "1", "-1", "a1", "9" * 30, "\u0661", "\u00b2"))
        on = draw.random() < (0.1 if scope == "account" else 0.03)
        return self.cold(CommandKind.KILL_SWITCH, payloads.KillSwitch(scope, target, on, draw.random() < 0.5))

    def block(self) -> bytes:
        draw = self.draw
        trades = []
        slots = draw.sample(self.slots, min(4, len(self.slots)))
        for place in range(draw.choice((0, 1, 1, 1, 2, 2, 4, 25))):
            slot = slots[place] if place < len(slots) and draw.random() < 0.98 else self.slot()
            trades.append(payloads.BlockLeg(slot, self.rare(draw.getrandbits(1)), self.price(slot), self.lots()))
        stamp = self.rare(self.now // 10**6 + draw.choice((0, 0, -1, -(10**7))))
        value = payloads.BlockTrade(self.account(), self.account(), stamp, str(draw.getrandbits(12)), tuple(trades))
        return self.cold(CommandKind.BLOCK_TRADE, value)

    def state(self) -> bytes:
        draw = self.draw
        name = draw.choice(NAMES) if draw.random() < 0.7 else self.engine.listing.name(draw.choice(self.slots))
        state = draw.choice((*["open"] * 6, "auction", "auction", "halted", "close_only"))
        until = draw.choice((0, 1, self.now + SECOND, self.now + 60 * SECOND, self.extreme()))
        return self.cold(CommandKind.SET_INSTRUMENT_STATE, config.InstrumentState(name, state, until))

    def combo(self) -> bytes:
        """A combo of live instruments, mostly of one underlying."""
        draw = self.draw
        live = [view for slot in self.slots if not (view := self.engine.instrument(slot)).kind.endswith("combo")]
        first = draw.choice(live)
        among = [
            view for view in live
            if (view.underlying, view.settlement) == (first.underlying, first.settlement)
            and (view.kind == "option") == (first.kind == "option")
        ]  # fmt: skip
        if draw.random() < 0.1:
            among = live
        count = draw.choice((2, 2, 2, 3, 4, 1, 5))
        picked = draw.sample(among, min(count, len(among)))
        ratios = [1] + [self.rare(draw.choice((1, -1, 2, -3))) for _ in picked[1:]]
        legs = [config.Leg(view.name, ratio) for view, ratio in zip(picked, ratios, strict=True)]
        self.listed += 1
        value = config.Instrument(
            name=f"{first.underlying}-COMBO-{self.listed}", settlement=first.settlement, underlying=first.underlying,
            kind="option_combo" if first.kind == "option" else "future_combo", inverse=first.inverse,
            price_unit_e8=self.rare(first.price_unit_e8), lot_size_e8=self.rare(first.lot_size_e8),
            expiry_ns=self.rare(min((view.expiry_ns for view in picked if view.expiry_ns), default=0)),
            max_quantity_lots=self.rare(1_000_000), max_price_units=self.rare(2_000_000),
            zero_units=self.rare(1_000_000),
            legs=tuple(legs),
        )  # fmt: skip
        return self.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments((value,)))

    def odd(self) -> bytes:
        """Money, accounts and models, mostly with a damaged payload."""
        draw = self.draw
        currency = draw.choice(("BTC", "ETH", "USDC"))
        kind, value = draw.choice((
            (CommandKind.CHANGE_MARGIN_MODEL, config.ChangeMarginModel(draw.choice(config.MARGIN_MODELS))),
            (CommandKind.SET_SELF_TRADE, config.SelfTrade("reject_taker", draw.random() < 0.5)),
            (CommandKind.WITHDRAW, config.Transfer(currency, self.rare(10**10, 0.3))),
            (CommandKind.DEPOSIT, config.Transfer(currency, self.rare(10**9, 0.3) % self.richest)),
            (CommandKind.ENDOW_FUND, config.Transfer(currency, self.extreme())),
            (CommandKind.SWEEP_DUST, config.Transfer(currency)),
            (CommandKind.UPGRADE, {"version": self.extreme()}),
            (CommandKind.CREATE_ACCOUNT, config.CreateAccount(f"b{draw.getrandbits(5)}", draw.getrandbits(3))),
        ))  # fmt: skip
        return self.cold(kind, value, self.account())

    def run(self, length: int) -> None:
        draw = self.draw
        makers = [self.place] * 30 + [self.special] * 25 + [self.edit, self.edit_special, self.cancel] * 4
        makers += [self.quotes] * 10 + [self.end_quotes, self.kill, self.state, self.odd] + [self.protection] * 3
        makers += (
            [self.linked] * 6
            + [self.block] * 4
            + [self.combo, self.cancel_all, self.feed, self.lease, self.noise]
            + [self.bid] * (0 if self.harsh else 2)
        )
        for number in range(length):
            if number % 60 == 0:
                self.now += draw.choice((10**6, SECOND // 4, SECOND, SECOND * 3, SECOND * 20, SECOND * 120))
                if draw.random() < 0.002:
                    self.now += DAY
                if draw.random() < 0.7:
                    self.marks()
                for record in self.world():
                    if not self.harsh or record[0] != CommandKind.GRANT_FUND_LEASE:
                        self.submit(record)
                off = payloads.KillSwitch(
                    *draw.choice((("venue", ""), ("underlying", "BTC"), ("underlying", "ETH"))), False
                )
                self.submit(commands.cold(CommandKind.KILL_SWITCH, off))
                self.look()
            maker = draw.choice(makers)
            self.submit(maker())
            if maker == self.combo:
                self.look()


def hammer(seed: int, length: int, every: int) -> Engine:
    """Run with audits, then replay; the engine at the end."""
    fuzz = SpecialFuzz(seed, bool(seed & 1))
    for _ in range(length // every):
        fuzz.run(every)
        assert fuzz.engine.audit() == []
    again = Engine()
    again.apply_many(b"".join(fuzz.records))
    assert again.event_chain() == fuzz.engine.event_chain()
    assert again.state_digest() == fuzz.engine.state_digest()
    return fuzz.engine


@pytest.mark.parametrize("seed", [1, 2, 7])
def test_no_special_command_stops_the_engine(seed: int) -> None:
    counters = hammer(seed, 9_000, 500).counters()
    assert counters.trades > 300


@pytest.mark.full
@pytest.mark.parametrize("seed", range(100, 106))
def test_no_long_run_of_special_commands_stops_the_engine(seed: int) -> None:
    counters = hammer(seed, 60_000, 600).counters()
    assert counters.trades > 2_000
