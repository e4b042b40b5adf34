"""A crowd of accounts over two underlyings, and a market that moves: index, every forward's basis, every vol.

The records of a crowd can be given to any number of engines, which must then behave alike."""

import itertools
from typing import Any

import numpy as np

from exchange import commands, config
from exchange.commands import CommandKind
from exchange.engine import Engine
from tests.oracles.world import HOUR_NS, START_NS

COIN, DOLLAR = 10**10, 10**6
EXPIRY_HOURS = (9, 60, 30 * 24, 180 * 24)
STRIKES = (0.8, 0.95, 1.0, 1.05, 1.3)
FREE = config.Fees(maker_ppm=0, taker_ppm=0)
SPOT = {"BTC": 65_000.0, "ETH": 3_000.0}
PER_HOUSE = 150


def instruments() -> tuple[config.Instrument, ...]:
    """Perpetuals and futures, inverse and linear, and options on BTC in both settlements; perpetuals on ETH."""
    found = []
    for coin, lot_usd in (("BTC", 10), ("ETH", 1)):
        unit = {"price_unit_e8": 10**8 if coin == "BTC" else 10**6, "fees": FREE, "underlying": coin}
        inverse = {"settlement": coin, "inverse": True, "lot_size_e8": lot_usd * 10**8, **unit}
        linear = {"settlement": "USDC", "inverse": False, "lot_size_e8": 10**5, **unit}
        found.append(config.Instrument(name=f"{coin}-PERPETUAL", kind="perpetual", **inverse))
        found.append(config.Instrument(name=f"{coin}_USDC-PERPETUAL", kind="perpetual", **linear))
    for hours in EXPIRY_HOURS:
        expiry = START_NS + hours * HOUR_NS
        found.append(
            config.Instrument(
                name=f"BTC-{hours}", kind="future", underlying="BTC", settlement="BTC", inverse=True, expiry_ns=expiry,
                price_unit_e8=10**8, lot_size_e8=10 * 10**8, fees=FREE,
            )
        )  # fmt: skip
        strikes = (round(SPOT["BTC"] * share) for share in STRIKES)
        every = itertools.product(strikes, ("call", "put"), (False, True))
        found += [option(hours, strike, side, linear) for strike, side, linear in every]
    return tuple(found)


def option(hours: int, strike: int, side: str, linear: bool) -> config.Instrument:
    return config.Instrument(
        name=f"BTC{'_USDC' if linear else ''}-{hours}-{strike}-{side[0].upper()}", kind="option",
        underlying="BTC", settlement="USDC" if linear else "BTC", inverse=not linear,
        expiry_ns=START_NS + hours * HOUR_NS, strike_e8=strike * 10**8, option_type=side, fees=FREE,
        price_unit_e8=10**8 if linear else 10**4, lot_size_e8=10**6 if linear else 10**7, max_price_units=262_143,
    )  # fmt: skip


def configuration(accounts: int, **changes: Any) -> config.Config:
    """The venue: every charge of the margin model binds for somebody."""
    matrix = config.MatrixParameters(
        delta_threshold_usd=200_000, delta_move_per_coin_e9=2_000_000, extended_dampener_usd=5_000
    )
    parts = {
        "venue_id": "crowd",
        "currencies": (
            config.Currency(name="BTC", exponent=10, underlying="BTC"),
            config.Currency(name="USDC", exponent=6),
            config.Currency(name="ETH", exponent=10, underlying="ETH"),
        ),
        "underlyings": tuple(
            config.Underlying(name=coin, index_name=f"{coin.lower()}_usd", matrix=matrix) for coin in SPOT
        ),
        "instruments": instruments(),
        "limits": config.Limits(max_accounts=2 * accounts + 100, max_instruments=256, price_band_ppm=500_000),
    }
    return config.Config(**(parts | changes))


class Crowd:
    """Writes records by what its own engine shows, so that each is accepted there. Its accounts have the first of its
    two margin models or, two in five, the other."""

    models: tuple[config.MarginModel, config.MarginModel] = ("segregated_pm", "cross_pm")
    start_ns = START_NS
    first_vol = 0.6

    def __init__(self, seed: int, accounts: int, **changes: Any) -> None:
        self.rng = np.random.default_rng(seed)
        self.engine = Engine()
        self.engine.band_accounts = 1 << 62
        self.time_ns = self.start_ns
        self.records: list[bytes] = []
        self.index = dict(SPOT)
        self.basis = {START_NS + hours * HOUR_NS: 0.0001 * hours**0.5 for hours in EXPIRY_HOURS}
        self.level = self.first_vol
        genesis = configuration(accounts, **changes)
        self.averaged = genesis.underlyings[0].settlement_averaging is True
        self.send(commands.cold(CommandKind.GENESIS, genesis))
        self.options = [slot for slot, _, _ in self.engine.pairs(0)]
        self.skew = self.rng.normal(0.0, 0.05, len(self.options))
        self.near = [self.engine.instrument(slot).expiry_ns == min(self.basis) for slot in self.options]
        self.marks("BTC")
        self.marks("ETH")
        self.slots = [self.engine.instrument(slot) for slot in self.engine.instruments()]
        self.members: list[int] = []
        self.quoter = self._account("quoter", "segregated_pm", BTC=100, USDC=5_000_000, ETH=1_000)
        for number in range(accounts):
            if number % PER_HOUSE == 0:
                house = self._account(f"house-{number}", "segregated_pm", BTC=50_000, USDC=2_000_000_000, ETH=500_000)
            self._member(number, house)

    def send(self, record: bytearray) -> bytes:
        """Stamp, apply and keep one record; its events."""
        record[8:16] = (self.engine.seq + 1).to_bytes(8, "little")
        record[16:24] = self.time_ns.to_bytes(8, "little")
        self.records.append(bytes(record))
        self.engine.apply(self.records[-1])
        return self.engine.take_events()

    def marks(self, coin: str) -> bytes:
        """An update of an underlying at the current index, bases and vols."""
        index = self.index[coin]
        forwards, vols = [], []
        if coin == "BTC":
            forwards = [(t, round(index * (1 + basis) * 1e8)) for t, basis in self.basis.items() if t > self.time_ns]
            vols = [
                (slot, round(self.level * (1 + skew) * 1e6))
                for slot, skew in zip(self.options, self.skew, strict=True)
                if self.engine.instrument_slot(self.engine.listing.name(slot)) == slot
            ]
        number = list(SPOT).index(coin)
        return self.send(commands.update_marks(number, round(index * 1e8), self.time_ns, forwards, vols))

    def move(self, calm: float, coin: str = "BTC", jump: float = 0.0, seconds: float = 5.0) -> bytes:
        """Time passes and the market moves: `calm` is the index's standard deviation of one update."""
        draw = self.rng.normal
        self.time_ns += round(seconds * 1e9)
        self.index[coin] *= float(np.exp(calm * draw() + jump))
        if coin == "BTC":
            # a crash raises vols and widens bases; each forward has a mind of its own
            self.level *= float(np.exp(calm * (draw() - 0.3 * jump / (abs(jump) + 1e-9)) + abs(jump)))
            self.skew = np.clip(self.skew + draw(0.0, calm * 0.5, len(self.options)), -0.9, 9.0)
            self.level = min(max(self.level, 0.02), 20.0)
            for expiry in self.basis:
                self.basis[expiry] += float(draw(0.0, calm * 0.08 + abs(jump) * 0.05))
        return self.marks(coin)

    def shock(self, what: int) -> None:
        """One thing alone: every vol, the vols of the nearest expiry, one forward, or all of them."""
        size = float(self.rng.choice([-1.0, 1.0]))
        if what == 0:
            self.level *= 1.0 + 0.12 * size
        elif what == 1:
            self.skew += 0.4 * size * (1.0 + self.skew) * self.near
        else:
            chosen = list(self.basis) if what == 3 else [int(self.rng.choice(list(self.basis)))]
            for expiry in chosen:
                self.basis[expiry] += 0.003 * size

    def _account(self, name: str, model: str, **cash: float) -> int:
        payload = config.CreateAccount(name=name, owner_id=0, margin_model=model)
        self.send(commands.cold(CommandKind.CREATE_ACCOUNT, payload))
        number = self.engine.account_id(name)
        for currency, amount in cash.items():
            self.cash(number, currency, round(amount * (DOLLAR if currency == "USDC" else COIN)))
        return number

    def cash(self, account_id: int, currency: str, amount_minor: int) -> None:
        """A deposit, or where negative a withdrawal."""
        kind = CommandKind.DEPOSIT if amount_minor > 0 else CommandKind.WITHDRAW
        self.send(commands.cold(kind, config.Transfer(currency, abs(amount_minor)), account_id))

    def trade(self, account_id: int, house: int, slot: int, lots: int) -> None:
        """The account buys (or, negative, sells) against a house at about the mark."""
        view, market = self.engine.instrument(slot), self.engine.market(slot)
        price = min(max(1, round(market.mark_price_e8 / view.price_unit_e8)), view.max_price_units)
        for owner, side in ((house, lots > 0), (account_id, lots < 0)):
            self.send(
                commands.record(
                    CommandKind.PLACE_ORDER, owner, instrument=slot, side=int(side), price_units=price,
                    quantity_lots=abs(lots),
                )
            )  # fmt: skip

    def cancel_all(self, account_id: int) -> None:
        self.send(
            commands.record(
                CommandKind.CANCEL_ALL, account_id, instrument=commands.NO_INSTRUMENT, currency=commands.ANY_CURRENCY,
                instrument_kind=commands.ANY_KIND, order_type=0xFF,
            )
        )  # fmt: skip

    def trade_most(self, account_id: int, house: int, slot: int) -> None:
        """The largest of some trades that the account's margin allows."""
        sign = int(self.rng.choice([-1, 1]))
        held = self.engine.positions_room.lots(account_id, slot)
        for size in (1e6, 4e5, 1.5e5, 6e4, 2e4, 5e3):
            self.trade(account_id, house, slot, sign * self.lots_worth(slot, size))
            if self.engine.positions_room.lots(account_id, slot) != held:
                break
        self.cancel_all(house)

    def quote(self, premium: float) -> None:
        """Two orders on each perpetual around its index: marks move towards their middle, and funding accrues."""
        self.cancel_all(self.quoter)
        for view in self.slots:
            if view.kind == "perpetual":
                middle = self.index[view.underlying] * 1e8 / view.price_unit_e8 * (1 + premium)
                for side in (0, 1):
                    price = round(middle * (1 + (2 * side - 1) * 0.0004))
                    self.send(
                        commands.record(
                            CommandKind.PLACE_ORDER, self.quoter, instrument=view.instrument, side=side,
                            price_units=price, quantity_lots=1,
                        )
                    )  # fmt: skip

    def lots_worth(self, slot: int, size_usd: float) -> int:
        """Lots of an instrument with about that notional, at least one."""
        view = self.slots[slot]
        lot = view.lot_size_e8 / 1e8
        if not (view.inverse and view.kind != "option"):
            lot *= self.index[view.underlying]
        return max(1, round(size_usd / lot))

    def _pick(self, number: int) -> list[tuple[int, int]]:
        """Instruments and signed sizes of one member: takers of futures, buyers, sellers, spreads of options, hedgers,
        everything at once, calendars, synthetic forwards against a future."""
        rng, kind = self.rng, number % 8
        futures = [view.instrument for view in self.slots if view.kind != "option"]
        settled = ("BTC", "USDC")[number // 8 % 2]
        size = float(np.exp(rng.normal(9.5, 0.8)))
        if kind >= 6:
            return self._hedged(kind == 7, size)
        options = [view.instrument for view in self.slots if view.kind == "option" and view.settlement == settled]
        count = int(rng.integers(1, 5))
        if kind == 0:
            chosen = [(slot, 1 - 2 * int(rng.integers(2))) for slot in rng.choice(futures, min(count, 3), False)]
        elif kind in (1, 2):
            chosen = [(slot, 1 if kind == 1 else -1) for slot in rng.choice(options, count, False)]
        elif kind == 3:
            chosen = [(slot, 1 - 2 * (place % 2)) for place, slot in enumerate(rng.choice(options, 2 * count, False))]
        else:
            every = futures + options
            chosen = [(slot, 1 - 2 * int(rng.integers(2))) for slot in rng.choice(every, 2 * count, False)]
        return [(int(slot), sign * self.lots_worth(int(slot), size)) for slot, sign in chosen]

    def _hedged(self, synthetic: bool, size: float) -> list[tuple[int, int]]:
        """Long one expiry and short another by the same size: what is left is the basis between them."""
        dated = [view for view in self.slots if view.kind == "future"]
        near, far = (dated[int(place)] for place in self.rng.choice(len(dated), 2, False))
        held = [(near.instrument, self.lots_worth(near.instrument, size))]
        if not synthetic:
            return [*held, (far.instrument, -self.lots_worth(far.instrument, size))]
        strike = round(SPOT["BTC"] * float(self.rng.choice(STRIKES))) * 10**8
        for view in self.slots:
            if view.expiry_ns == far.expiry_ns and view.strike_e8 == strike and view.inverse:
                sign = -1 if view.option_type == "call" else 1
                held.append((view.instrument, sign * self.lots_worth(view.instrument, size)))
        return held

    def spread(self, number: int) -> float:
        """What a member keeps beyond its initial margin, as a share of it."""
        return float(np.exp(self.rng.normal(-2.5, 1.2))) if number % 4 else float(self.rng.uniform(0.0, 0.05))

    def _member(self, number: int, house: int) -> None:
        """An account with positions and little more than its initial margin: one in four is near its warning."""
        cross = number % 5 in (0, 3)
        account_id = self._account(f"member-{number}", self.models[cross], BTC=40, USDC=2_000_000, ETH=400)
        for slot, lots in self._pick(number):
            self.trade(account_id, house, slot, lots)
        spread = self.spread(number)
        for currency, view in zip(("BTC", "USDC", "ETH"), self.engine.account(account_id).currencies, strict=True):
            keep = round(view.initial_margin_minor * (0.4 if cross else 1.0) * spread)
            away = min(view.withdrawable_minor - keep, view.cash_minor - (0 if not cross else view.cash_minor // 200))
            if away > 0:
                self.cash(account_id, currency, -away)
        self.members.append(account_id)
