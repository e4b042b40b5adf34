"""Hostile commands for fuzzing the engine: orders with terms, quotes, marks, leases, plain noise."""

import struct
from typing import Any

import msgspec

from exchange import commands, config, payloads
from exchange.commands import CommandKind
from tests.driver import DAY, SECOND
from tests.properties.test_engine_fuzz import MASK64, Fuzz, settings

TERM_NAMES = (
    "trigger_price_e8", "trigger_offset_e8", "trigger_source", "advanced", "protection_group", "display_lots",
    "advanced_value_e8", "linked_order_id",
)  # fmt: skip
NOISY = [kind for kind in CommandKind if kind not in (CommandKind.GENESIS, CommandKind.CHECKPOINT)]
WIDTHS = {"trigger_source": 0xFF, "advanced": 0xFF, "protection_group": 0xFFFF, "linked_order_id": MASK64}


def wrapped(value: int) -> int:
    """Into the range of an int64."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


class HostileFuzz(Fuzz):
    """Draws records of fixed layout; safe bands forced on, nobody bidding and extreme riches are for some runs."""

    def __init__(self, seed: int, bands: bool) -> None:
        self.bands = bands
        self.harsh = bool(seed & 2)
        self.richest = 1 << 60 if seed & 4 else 10**13
        self.listed = 0
        super().__init__(seed)
        self.look()
        for number in range(1, 25):
            if number % 3:
                for currency, amount in (("BTC", 10**13), ("ETH", 10**14), ("USDC", 10**12)):
                    self.submit(commands.cold(CommandKind.DEPOSIT, config.Transfer(currency, amount), number))
            for underlying in ("BTC", "ETH"):
                made = payloads.Protection(underlying, 1, SECOND, SECOND, self.draw.choice((0, 10**10)))
                self.submit(commands.cold(CommandKind.SET_PROTECTION, made, number))

    def submit(self, record: bytes | bytearray) -> None:
        if not self.records:
            if self.bands:
                self.engine.band_accounts = 0
            changed = msgspec.structs.replace(
                settings(bool(self.draw.getrandbits(1))),
                limits=config.Limits(
                    max_open_orders=3_000, max_open_orders_per_account=200, max_open_orders_per_owner=500,
                    max_triggers_per_account=40, max_combos=25, max_protection_groups=6, max_quotes_per_command=12,
                    option_band_vol_ppm=self.draw.choice((0, 300_000)),
                    max_order_vega_usd=self.draw.choice((0, 500_000)),
                    max_order_delta_e8=self.draw.choice((0, 300 * 10**8)),
                ),
            )  # fmt: skip
            record = commands.cold(CommandKind.GENESIS, changed)
        super().submit(record)

    def marks(self) -> None:
        """In harsh runs nobody bids, and indices fall and rise until accounts are deleveraged."""
        if self.harsh and self.records and self.draw.random() < 0.1:
            self.index[self.draw.getrandbits(1)] *= self.draw.choice((0.86, 1.16))
        super().marks()

    def feed(self) -> bytes:
        """Marks whose figures and counts nobody would send."""
        draw = self.draw
        forwards = [
            (self.rare(draw.choice((0, self.now + DAY))), self.rare(10**13, 0.5)) for _ in range(draw.randrange(3))
        ]
        vols = [(self.slot(), self.extreme() & 0xFFFFFFFF) for _ in range(draw.randrange(3))]
        index = self.rare(round(self.index[0] * 1e8), 0.3)
        made = commands.update_marks(draw.choice((0, 0, 1, 2, 0xFFFF)), index, self.rare(self.now, 0.3), forwards, vols)
        if draw.random() < 0.3:
            struct.pack_into("<HI", made, 26, draw.getrandbits(16), draw.choice((0, 5, 0xFFFFFFFF, 1 << 31)))
        return bytes(made)

    def lease(self) -> bytes:
        """The fund's answers, wrong or exhausted."""
        leases = self.engine.leases()
        number = self.draw.choice(leases).lease_id if leases and self.draw.random() < 0.8 else self.extreme() & MASK64
        fields = {"lease_id": number, "currency": self.draw.choice((0, 2, 0xFFFF))}
        if self.draw.random() < 0.6:
            amount, dry = self.rare(0, 0.6), self.draw.getrandbits(1)
            return bytes(commands.record(CommandKind.GRANT_FUND_LEASE, amount_minor=amount, exhausted=dry, **fields))
        return bytes(commands.record(CommandKind.SETTLE_FUND_LEASE, used_minor=self.rare(0, 0.6), **fields))

    def noise(self) -> bytes:
        """Any kind, any bytes."""
        slots = self.draw.randrange(1, 5)
        kind = self.draw.choice(NOISY)
        return struct.pack("<HHI16x", kind, slots, self.account()) + self.draw.randbytes(64 * slots - 24)

    # ------------------------------------------------------------------ fields

    def rare(self, value: int, share: float = 0.03) -> int:
        """The value, or an extreme one."""
        return self.extreme() if self.draw.random() < share else value

    def slot(self) -> int:
        """Live, now and then one that is gone or never was."""
        if self.draw.random() < 0.98:
            return self.draw.choice(self.slots)
        return self.draw.choice((self.draw.randrange(80), self.extreme() & 0xFFFFFFFF))

    def shape(self, order_type: int, option: bool = False, lots: int = 100) -> bytes:
        """A slot of terms: mostly plausible for the type, else absurd."""
        draw = self.draw
        fields: dict[str, int] = dict.fromkeys(TERM_NAMES, 0)
        what = draw.random()
        if order_type >= 3:
            level = self.index[draw.getrandbits(1)] * draw.uniform(0.95, 1.05) * 1e8
            fields["trigger_source"] = draw.randrange(3)
            fields["trigger_offset_e8" if order_type == 7 else "trigger_price_e8"] = round(
                level / (1, 500)[order_type == 7]
            )
        elif what < 0.4:
            fields["display_lots"] = max(1, lots // draw.choice((1, 3, 9, 50)))
        elif what < 0.7 and option:
            fields["advanced"] = draw.choice((1, 2))
            scale = 10**8 * (draw.choice((100, 5_000)) if fields["advanced"] == 1 else 1)
            fields["advanced_value_e8"] = round(scale * draw.uniform(0.2, 1.5))
        else:
            fields["protection_group"] = draw.choice((1, 1, 1, 2))
        if draw.random() < 0.08:
            name = draw.choice(TERM_NAMES)
            fields[name] = self.extreme() & WIDTHS[name] if name in WIDTHS else self.extreme()
        return commands.order_terms(**fields)

    def lots(self) -> int:
        if self.richest > 10**13 and self.draw.random() < 0.1:
            return self.draw.randrange(10**6, 10**7)
        return self.extreme() if self.draw.random() < 0.02 else int(10 ** self.draw.uniform(0, 4.3))

    def is_option(self, slot: int) -> bool:
        return slot in self.marks_units and self.engine.instrument(slot).kind == "option"

    def special(self) -> bytes:
        """An order with terms, of any type."""
        draw = self.draw
        slot, lots = self.slot(), self.lots()
        order_type = draw.choice((0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7))
        count = 1 if draw.random() < 0.98 else draw.getrandbits(8)
        label = b"ab" if draw.random() < 0.1 else b""
        body = self.shape(order_type, self.is_option(slot), lots) + label if draw.random() < 0.98 else b""
        return bytes(commands.record(
            CommandKind.PLACE_ORDER, self.account(), body, instrument=slot, side=draw.getrandbits(1),
            order_type=order_type, time_in_force=draw.choice((*[0] * 8, 1, 2, 3)),
            flags=draw.choice((0, 0, 0, 0, 0, 1, 3, 4, draw.getrandbits(8))), price_units=self.price(slot),
            quantity_lots=lots, label_bytes=len(label), terms_slots=count, valid_until_ns=self.rare(0, 0.01),
        ))  # fmt: skip

    def someones(self) -> Any:
        """A live order of an account, or None."""
        live = self.engine.open_orders(self.draw.randrange(1, 25))
        return self.draw.choice(live) if live else None

    def edit_special(self) -> bytes:
        draw = self.draw
        order = self.someones()
        number = order.order_id if order else self.order_id()
        price, lots = self.price(order.instrument if order else 0), self.lots()
        if order and draw.random() < 0.7:
            price, lots = order.price_units, max(1, order.quantity_lots // draw.choice((1, 1, 2)))
        kind = draw.choice((0, 0, 0, 3, 7))
        return bytes(commands.record(
            CommandKind.EDIT_ORDER, order.account_id if order else self.account(),
            self.shape(kind, bool(order) and self.is_option(order.instrument), lots), order_id=number,
            price_units=price, quantity_lots=lots, terms_slots=draw.choice((1, 1, 1, 1, 0, 2)),
            flags=draw.choice((0, 0, 0, 1, 4, 255)), trigger_price_e8=self.rare(0, 0.1),
        ))  # fmt: skip

    # ------------------------------------------------------------------ quotes and protection

    def quotes(self) -> bytes:
        draw = self.draw
        tail = b""
        count = draw.choice((0, 1, 2, 2, 3, 3, 6, 12, 13))
        for _ in range(count):
            slot = self.slot()
            middle = self.price(slot)
            step = draw.choice((1, 5, 5, 20)) if draw.random() < 0.97 else -1
            tail += commands.quote_entry(
                instrument=slot, sides=draw.choice((*[3] * 20, 1, 2, 0, draw.getrandbits(8))),
                bid_flags=self.rare(0) & 255, ask_flags=draw.choice((0, 0, 0, 1, 3)),
                bid_price_units=wrapped(middle - step) if draw.random() < 0.9 else 0,
                ask_price_units=wrapped(middle + step),
                bid_lots=draw.choice((*[self.lots() % 500] * 9, 0, -1)),
                ask_lots=draw.choice((*[self.lots() % 500] * 9, 0, -1)),
                quote_set=draw.choice((b"", b"s", bytes(draw.getrandbits(8) for _ in range(24)))),
            )  # fmt: skip
        said = count if draw.random() < 0.9 else draw.choice((0, count + 1, 0xFFFF, draw.getrandbits(16)))
        return bytes(commands.record(
            CommandKind.MASS_QUOTE, self.account(), tail, key_id=1, quote_count=said,
            protection_group=draw.choice((*[1] * 9, 2, 0, 0xFFFF)), valid_until_ns=self.rare(0),
            quote_id=bytes(draw.getrandbits(8) for _ in range(draw.randrange(25))),
        ))  # fmt: skip

    def end_quotes(self) -> bytes:
        draw = self.draw
        tail = draw.choice((b"", b"s", b"x" * 70))
        return bytes(commands.record(
            CommandKind.CANCEL_QUOTES, self.account(), tail,
            instrument=draw.choice((0xFFFFFFFF, 0xFFFFFFFF, self.slot())),
            currency=draw.choice((0xFFFF, 0, 1, 77)), instrument_kind=draw.choice((0xFF, 0, 2, 9)),
            freeze=draw.choice((0, 0, 1, 200)), protection_group=draw.choice((0xFFFF, 1, 2, 60_000)), reason=60,
            min_delta_e6=draw.choice((1, -1_000_000, -(1 << 31))),
            max_delta_e6=draw.choice((0, 500_000, (1 << 31) - 1)),
            set_bytes=len(tail) if draw.random() < 0.9 else draw.getrandbits(16),
        ))  # fmt: skip
