"""Random mass quotes with their protection, kill switches, auctions and blocks."""

from exchange import commands, config, payloads
from exchange.commands import CommandKind
from tests.oracles.special_draws import SpecialDraws

PROTECTION_GROUPS = (1, 2, 3)
QUOTES_OF = ("BTC", "BTC", "BTC", "ETH")

TERMS = ("buffer_ppm", "discount_start_ppm", "discount_cutoff_ppm", "fee_ppm", "fast_ns", "batch_ns")


class DeskDraws(SpecialDraws):
    """Draws over what its subclass follows."""

    stopped: set[tuple[str, str]]
    blocked: list[tuple[int, int, int, str]]
    tried: tuple[int, int, int, str]

    # ------------------------------------------------------------------ quotes

    def _makers(self) -> int:
        """Few accounts quote."""
        return self.random.choice((1, 2, 3, 4)) if self.random.random() < 0.97 else self._account()

    def _quote(self) -> bytearray:
        """Both sides of several options or futures, around the mark; some sides wrong, some that keep what stands."""
        r = self.random
        base = r.choice(QUOTES_OF)
        slots = [s for s in self._slots() if self.specs[s].underlying == base]
        if r.random() < 0.02:
            slots = self._slots()
        entries = [self._quote_entry(slot) for slot in r.sample(slots, min(len(slots), r.randint(1, 4)))]
        return commands.record(
            CommandKind.MASS_QUOTE, self._makers() if r.random() < 0.99 else 99, b"".join(entries), key_id=4,
            protection_group=r.choice(PROTECTION_GROUPS) if r.random() < 0.97 else r.choice((0, 9)),
            quote_count=len(entries) if r.random() < 0.985 else r.choice((0, 99, 101)),
            valid_until_ns=1 if r.random() < 0.01 else 0, quote_id=r.choice((b"", b"q-1", b"q-2", b"x" * 24)),
        )  # fmt: skip

    def _quote_entry(self, slot: int) -> bytes:
        r = self.random
        half = r.choice((0.0005, 0.002, 0.006)) * (6 if self.specs[slot].kind == "option" else 1)
        lots = [max(1, self._lots(slot) // r.choice((1, 2, 8))) for _ in range(2)]
        prices = [self._price(slot, 1 - half), self._price(slot, 1 + half)]
        for side in range(2):
            odd = r.random()
            if odd < 0.06:
                prices[side] = 0
            elif odd < 0.14:
                lots[side] = r.choice((-1, -1, 0, 0, -7, 2**61))
            elif odd < 0.16:
                prices[side] = r.choice((-1, 51, 10**8))
        flags = [r.choices((0, 1, 3, 4), (20, 3, 1, 1))[0] for _ in range(2)]
        return commands.quote_entry(
            instrument=slot if r.random() < 0.99 else 63, sides=r.choice((1, 2, 3, 3, 3, 3)), bid_flags=flags[0],
            ask_flags=flags[1], bid_price_units=prices[0], bid_lots=lots[0], ask_price_units=prices[1],
            ask_lots=lots[1], quote_set=r.choice((b"", b"near", b"far")),
        )  # fmt: skip

    def _cancel_quotes(self) -> bytearray:
        r = self.random
        named = r.choice((b"", b"", b"", b"near", b"nowhere"))
        low, high = r.choice(((1, 0), (1, 0), (-(10**6), 0), (0, 10**6), (250_000, 600_000)))
        return commands.record(
            CommandKind.CANCEL_QUOTES, self._makers() if r.random() < 0.98 else 99, named, set_bytes=len(named),
            instrument=r.choice((commands.NO_INSTRUMENT, commands.NO_INSTRUMENT, self._slot())),
            currency=r.choice((commands.ANY_CURRENCY, r.randrange(3))),
            instrument_kind=r.choice((commands.ANY_KIND, commands.ANY_KIND, r.randrange(3))),
            freeze=r.random() < 0.2, protection_group=r.choice((0xFFFF, 0xFFFF, 1, 2)), reason=60, min_delta_e6=low,
            max_delta_e6=high, key_id=4,
        )  # fmt: skip

    def _protect(self) -> bytearray:
        """Groups with limits that fills reach."""
        r = self.random

        def limit(*values: int) -> int:
            return r.choice((0, 0, *values)) if r.random() < 0.98 else -1

        payload = payloads.Protection(
            underlying=r.choice(QUOTES_OF) if r.random() < 0.98 else "XRP", group=r.choice((*PROTECTION_GROUPS, 1, 2)),
            interval_ns=r.choice((10**9, 30 * 10**9, 10**12)) if r.random() < 0.85 else r.choice((0, 0, 0, -1)),
            frozen_ns=r.choice((0, 10**9, 20 * 10**9)), quantity_limit_e8=limit(10**8, 5 * 10**7, 3 * 10**8),
            delta_limit_e8=limit(10**7, 5 * 10**7), vega_limit_e8=limit(20 * 10**8, 100 * 10**8),
            max_quote_e8=limit(10**8, 3 * 10**8, 10**9), name=r.choice(("", "group")),
        )  # fmt: skip
        return commands.cold(CommandKind.SET_PROTECTION, payload, self._makers() if r.random() < 0.98 else 99)

    def _reset(self) -> bytearray:
        r = self.random
        payload = payloads.ResetProtection(underlying=r.choice(QUOTES_OF), group=r.choice((*PROTECTION_GROUPS, 8)))
        return commands.cold(CommandKind.RESET_PROTECTION, payload, self._makers())

    def _protected(self) -> bytearray:
        """An ordinary order that names a protection group."""
        slot = self._slot()
        group = self.random.choice((*PROTECTION_GROUPS, 1, 1, 9))
        record = self._terms_order(slot, self._lots(slot), {"protection_group": group})
        record[4:8] = self._makers().to_bytes(4, "little")
        return record

    # ------------------------------------------------------------------ kill switch, auctions, blocks

    def _kill(self) -> bytearray:
        """Throw a switch, or release one that is on: seldom many at once."""
        r = self.random
        if self.stopped and r.random() < 0.93:
            scope, target = r.choice(sorted(self.stopped))
            on = False
        else:
            on = r.random() < 0.9
            scope = r.choices(("venue", "underlying", "owner", "account"), (1, 2, 3, 4))[0]
            target = {
                "venue": "", "underlying": r.choice(("BTC", "ETH")), "owner": str(r.choice((1, 3, 9, 11))),
                "account": str(self._account()),
            }[scope]  # fmt: skip
            if r.random() < 0.05:
                target = "NOBODY"
        if on:
            self.stopped.add((scope, target))
        else:
            self.stopped.discard((scope, target))
        payload = payloads.KillSwitch(scope=scope, target=target, on=on, cancel=r.random() < 0.5)
        return commands.cold(CommandKind.KILL_SWITCH, payload)

    def _prefer(self) -> bytearray:
        """What an owner would rather have sold, who is retained, new terms; some of them wrong."""
        r = self.random
        account_id = self._account() if r.random() < 0.9 else 99
        kind = r.randrange(3)
        if kind == 0:
            word = r.choice(("smallest", "proportional", "futures_first", "options_first"))
            return commands.cold(CommandKind.SET_UNWIND, payloads.SetUnwind(word), account_id)
        if kind == 1:
            return commands.cold(
                CommandKind.SET_BACKSTOP, payloads.SetBackstop(r.choice((-1, 0, 1, 10**6))), account_id
            )
        good = {"buffer_ppm": 200_000, "discount_start_ppm": 900_000, "fee_ppm": 1, "fast_ns": 10**9, "batch_ns": 10**8}
        named = dict(r.sample(sorted(good.items()), r.randrange(4)))
        if r.random() < 0.3:
            named[r.choice(TERMS)] = r.choice((0, 1, 600_000, 1_000_001, 10**14))
        underlying = r.choice(("BTC", "ETH", "BTC", "XRP"))
        return commands.cold(CommandKind.SET_AUCTION_TERMS, payloads.AuctionTerms(underlying, **named))

    def _auction(self) -> bytearray:
        """Put an instrument into an auction that crosses for a while."""
        r = self.random
        until = self.time_ns + r.choice((0, 20, 60)) * 10**9
        if self.shut:
            state, name, until = r.choice(("open", "open", "halted", "close_only")), self.shut, 0
            self.shut = "" if state == "open" else self.shut
        else:
            name, state = self.specs[self._slot()].name, "auction"
            self.shut = name
        payload = config.InstrumentState(name=name, state=state, until_ns=until if until > self.time_ns else 0)
        return commands.cold(CommandKind.SET_INSTRUMENT_STATE, payload)

    def _block(self) -> bytearray:
        """A few trades between two accounts; some that cannot be."""
        r = self.random
        maker, taker = r.sample(range(1, self.account_count + 1), 2)
        slots = r.sample(self._slots(), r.choices((1, 2, 3), (5, 3, 1))[0])
        trades = [
            payloads.BlockLeg(
                instrument=slot, side=r.randint(0, 1), price_units=self._price(slot),
                quantity_lots=self._lots(slot) * r.choice((1, 3)),
            )
            for slot in slots
        ]  # fmt: skip
        stamp, nonce = self.time_ns // 10**6, f"nonce-{r.randint(1, 10**6)}"
        wrong = r.random()
        if wrong < 0.03:
            taker = maker
        elif wrong < 0.05:
            trades = [*trades, trades[0]]
        elif wrong < 0.06:
            trades = []
        elif wrong < 0.09:
            stamp += r.choice((-400_000, 400_000))
        elif wrong < 0.25 and self.blocked:
            maker, taker, stamp, nonce = r.choice(self.blocked[-5:])
            if r.random() < 0.5:
                maker, taker = taker, maker
        elif wrong < 0.27:
            taker = 99
        elif wrong < 0.3:
            trades[0] = payloads.BlockLeg(
                instrument=r.choice((slots[0], 63)), side=r.choice((0, 2)), price_units=r.choice((0, 51, 10**7)),
                quantity_lots=r.choice((0, 1, -4, 2**61)),
            )  # fmt: skip
        self.tried = (maker, taker, stamp, nonce)
        payload = payloads.BlockTrade(
            maker_account_id=maker, taker_account_id=taker, timestamp_ms=stamp, nonce=nonce, trades=tuple(trades)
        )
        return commands.cold(CommandKind.BLOCK_TRADE, payload)
