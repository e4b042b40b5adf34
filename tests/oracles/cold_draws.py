"""Random money movements, administration, listings and bids for generated histories."""

import msgspec

from exchange import commands, config, payloads
from exchange.commands import CommandKind
from tests.oracles import world
from tests.oracles.waiting_draws import WaitingDraws


class ColdDraws(WaitingDraws):
    """Draws over what its subclass follows of auctions and leases."""

    shut: str
    pending: list[config.Instrument]
    auctions: dict[int, tuple[int, int]]
    leases: dict[int, tuple[int, int]]
    settling: list[tuple[int, int, int]]
    between: list[tuple[int, payloads.SubmitTransfer]]

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

    def _between(self) -> bytearray:
        """Money from one account of an owner to another; some that cannot be, and some that are told twice."""
        r = self.random
        if self.between and r.random() < 0.2:
            account_id, payload = r.choice(self.between[-20:])
            if r.random() < 0.3:
                payload = msgspec.structs.replace(payload, amount_minor=payload.amount_minor + 1)
            return commands.cold(CommandKind.SUBMIT_TRANSFER, payload, account_id)
        account_id = r.choice((9, 10, 11, 12)) if r.random() < 0.9 else self._account()
        others = {9: 10, 10: 9, 11: 12, 12: 11}
        currency = r.choice(("BTC", "USDC", "ETH"))
        amount = round(world.deposit_minor(currency) * r.choice((0.01, 0.1, 0.3, 0.6, 2)))
        source, destination = 0, others.get(account_id, 9)
        wrong = r.random()
        if wrong < 0.25:
            source, destination = others.get(account_id, 9), account_id
        elif wrong < 0.4:
            destination = r.choice((0, -1, 99, 2**33, account_id, 1, 12, *self.holders))
        elif wrong < 0.45:
            currency, amount = r.choice((("XRP", 1), ("BTC", 0), ("ETH", -5), ("USDC", 2**60), ("USDC", 2**59)))
        nonce = r.choice(("", "", f"nonce-{self.seq:04}", "n" * 120 + str(self.seq)))
        if wrong > 0.97:
            nonce = r.choice(("short", "x" * 129))
        payload = payloads.SubmitTransfer(currency, amount, destination, source, nonce)
        if 8 <= len(nonce) <= 128:
            self.between.append((account_id, payload))
        return commands.cold(CommandKind.SUBMIT_TRANSFER, payload, account_id if wrong > 0.02 else 99)

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
