"""Generated histories in which accounts default: rich bidders, a fund whose answers go wrong, marks that stop."""

import msgspec

from exchange import commands, config, payloads
from exchange.commands import CommandKind
from exchange.config import Config, Liquidation
from tests.oracles import world
from tests.oracles.history import History

SECOND = 10**9
BIDDERS = 4
MODELS = ("segregated_pm", "cross_pm", "segregated_sm", "cross_sm")
CURRENCIES = ("BTC", "USDC", "ETH")


def hasty(configuration: Config, **changes: int) -> Config:
    """The same venue with short phases, full batches and a cap for one default."""
    rules = Liquidation(
        fast_ns=6 * SECOND, slow_ns=12 * SECOND, insolvent_ns=8 * SECOND, lease_wait_ns=6 * SECOND,
        max_bids_per_batch=3, fund_event_cap_ppm=400_000, **changes,
    )  # fmt: skip
    limits = msgspec.structs.replace(configuration.limits, max_accounts=34 + BIDDERS)
    return msgspec.structs.replace(configuration, liquidation=rules, limits=limits)


class DefaultHistory(History):
    """Follows prices of auctions; four more accounts, one of each model, do nothing but bid."""

    def __init__(
        self, seed: int, configuration: Config, features: tuple[str, ...], combos: tuple[config.Instrument, ...] = ()
    ) -> None:
        super().__init__(seed, ticks=True, configuration=configuration, features=features, combos=combos)
        first = self.account_count + 1
        self.bidders = range(first, first + BIDDERS)
        self.answered: list[bytes] = []
        made = [
            commands.cold(CommandKind.CREATE_ACCOUNT, config.CreateAccount(name=f"bidder-{n}", margin_model=MODELS[n]))
            for n in range(BIDDERS)
        ]
        for currency in CURRENCIES:
            amount = world.deposit_minor(currency)
            made += [self._money(CommandKind.DEPOSIT, currency, 12 * amount, bidder) for bidder in self.bidders]
            made.append(self._money(CommandKind.ENDOW_CAPITAL, currency, amount // 8))
        genesis, accounts = self.opening[0], self.account_count
        self.opening = [genesis, *self.opening[1 : 1 + accounts], *made, *self.opening[1 + accounts :]]

    def _money(self, kind: CommandKind, currency: str, amount: int, account_id: int = 0) -> bytearray:
        transfer = config.Transfer(currency=currency, amount_minor=amount, reference=self.seq)
        return commands.cold(kind, transfer, account_id)

    def next(self) -> bytes:
        """Now and then no marks come for longer than they last."""
        if self.seq > len(self.opening) and self.random.random() < 0.001:
            self.time_ns += 125 * SECOND
        return super().next()

    def _special(self, feature: str) -> list:
        if feature == "defaults":
            going = len(self.auctions)
            return [
                (self._tick, 100 + 60 * going), (self._bid, 90 * going), (self._lease, 10 * going), (self._purse, 6),
                (self._prefer, 6), (self._any_marks, 90),
            ]  # fmt: skip
        return super()._special(feature)

    def _bid(self) -> bytearray:
        """Mostly what an auction asked last, by one that can pay."""
        r = self.random
        if not self.auctions or r.random() < 0.1:
            return super()._bid()
        auction_id, (phase, price) = r.choice(sorted(self.auctions.items()))
        account_id = r.choice(self.bidders) if r.random() < 0.85 else self._account()
        return commands.record(
            CommandKind.PLACE_BID, account_id, auction_id=auction_id, key_id=1,
            phase=phase if r.random() < 0.96 else 3 - phase,
            share_ppm=r.choice((1, 20_000, 100_000, 400_000, 1_000_000, 1_000_000)) if r.random() < 0.98 else 0,
            limit_minor=price + round(abs(price) * r.choice((-0.3, -0.1, -0.01, 0, 0, 0.01, 0.1))),
        )  # fmt: skip

    def _lease(self) -> bytearray:
        """Also lost, late, twice, too large, or of another sum than was used."""
        r = self.random
        wrong = r.random()
        if wrong < 0.1 and self.leases:
            self.leases.popitem()
        if wrong < 0.2 and self.answered:
            return bytearray(r.choice(self.answered[-20:]))
        record = super()._lease()
        if wrong > 0.9:
            field = record[commands.HEADER_BYTES :]
            record = bytearray(record[: commands.HEADER_BYTES] + self._larger(record, field))
        self.answered.append(bytes(record))
        return record

    def _larger(self, record: bytes, body: bytes) -> bytes:
        kind = CommandKind(int.from_bytes(record[:2], "little"))
        name = "amount_minor" if kind == CommandKind.GRANT_FUND_LEASE else "used_minor"
        at = commands.LAYOUTS[kind].fields[name][1] - commands.HEADER_BYTES
        amount = int.from_bytes(body[at : at + 8], "little", signed=True) + 10**12
        return bytes(body[:at]) + amount.to_bytes(8, "little", signed=True) + bytes(body[at + 8 :])

    def _purse(self) -> bytearray:
        """Into the fund and the venue's capital, and out of this."""
        r = self.random
        kind = r.choice((CommandKind.ENDOW_FUND, CommandKind.ENDOW_CAPITAL, CommandKind.RELEASE_CAPITAL))
        currency = r.choice(CURRENCIES) if r.random() < 0.96 else "XRP"
        amount = round(world.deposit_minor("BTC" if currency == "XRP" else currency) * r.choice((0, 0.02, 0.1, 0.4)))
        return self._money(kind, currency, amount)

    def _prefer(self) -> bytearray:
        """Beside the usual, retained bidders that can pay."""
        r = self.random
        if r.random() < 0.3:
            most = r.choice((0, 0, 5_000, 10**6))
            return commands.cold(CommandKind.SET_BACKSTOP, payloads.SetBackstop(most), r.choice(self.bidders))
        return super()._prefer()
