"""Who trades in a scenario: accounts drawn by seed, with the positions and the money that every margin model admits.

Positions are entered as block trades against the market makers at the marks. An account's deposit is the largest that
any compared model asks for these positions, over the share of it that the account uses: the same accounts with the
same positions and the same money then go through the script under each model.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from exchange import commands, config
from exchange.commands import CommandKind, Side, TimeInForce
from exchange.events import EventKind
from exchange.payloads import BlockLeg, BlockTrade
from gateway import records
from gateway.feeds.names import option_name
from gateway.records import decode
from loadtest.scenarios.market import COINS, E8, EXPIRIES_NS, PPM, Coin, Market, strikes

USDC_UNIT = 1_000_000
NOTIONALS_USD = (20_000, 40_000, 60_000, 100_000, 150_000, 250_000, 400_000, 700_000)
MAKERS = 4
MAKER_USE_PPM = 220_000
CALIBRATION_USD = 1_000_000_000
ROOM_PPM = 1_020_000
"""Deposits stand this far above what the entry asks for."""
MOST_LEVERAGE_E2 = 10_000
ENTRY_ROOM_PPM = 1_100_000
"""What is kept beside a bucket's initial margin when it is opened: fees, and small trades of the script."""
Submit = Callable[[bytearray], bytes]


class Plan(msgspec.Struct):
    """One account. `legs`: signed lots by instrument name; `use_ppm`: of its money that initial margin takes."""

    name: str
    kind: str
    legs: dict[str, int]
    use_ppm: int
    owner_of: int = 0
    """Place (from 1) of the plan whose account is this one's owner; 0: its own."""
    coin: str = ""
    coin_minor: int = 0
    deposit_minor: int = 0


def _directional(draw: random.Random, market: Market, coin: Coin, usd: int) -> dict[str, int]:
    name = f"{coin.name}_USDC-PERPETUAL" if draw.random() < 0.6 else f"{coin.name}-PERPETUAL"
    lots = market.lots(name, usd)
    return {name: lots if draw.random() < 0.7 else -lots}


def _option(coin: Coin, expiry: int, steps: int, side: Any) -> str:
    listed = strikes(coin)
    return option_name(coin.name, EXPIRIES_NS[expiry], listed[len(listed) // 2 + steps] * E8, side)


def _hedged(draw: random.Random, market: Market, coin: Coin, usd: int) -> dict[str, int]:
    """A collar, a condor around a straddle, a basis position or a calendar."""
    form, perpetual = draw.randrange(4), f"{coin.name}_USDC-PERPETUAL"
    if form == 0:
        put, call = _option(coin, 1, -1, "put"), _option(coin, 1, 1, "call")
        lots = market.lots(put, usd)
        return {perpetual: market.lots(perpetual, usd), put: lots, call: -lots}
    if form == 1:
        legs = {_option(coin, 1, 0, side): -market.lots(_option(coin, 1, 0, side), usd) for side in ("put", "call")}
        for steps, side in ((-3, "put"), (3, "call")):
            legs[_option(coin, 1, steps, side)] = market.lots(_option(coin, 1, steps, side), usd)
        return legs
    if form == 2:
        sign = 1 if draw.random() < 0.5 else -1
        inverse = f"{coin.name}-PERPETUAL"
        return {inverse: sign * market.lots(inverse, usd), perpetual: -sign * market.lots(perpetual, usd)}
    near, far = _option(coin, 0, 0, "call"), _option(coin, 1, 0, "call")
    return {near: -market.lots(near, usd), far: market.lots(far, usd)}


def _writer(draw: random.Random, market: Market, coin: Coin, usd: int) -> dict[str, int]:
    side = "put" if draw.random() < 0.7 else "call"
    name = _option(coin, draw.randrange(2), -2 if side == "put" else 2, side)
    return {name: -market.lots(name, usd)}


def draw_plans(market: Market, count: int, seed: int, weak_maker: bool) -> list[Plan]:
    """`count` accounts by seed; makers, bidders and the like come beside them."""
    draw = random.Random(seed)
    plans: list[Plan] = []
    while len(plans) < count:
        coin = COINS[0] if draw.random() < 0.65 else COINS[1]
        usd, kind, number = draw.choice(NOTIONALS_USD), draw.random(), len(plans) + 1
        name = f"trader-{number}"
        use = 550_000 + draw.randrange(420_000)
        if kind < 0.45:
            plans.append(Plan(name, "directional", _directional(draw, market, coin, usd), use))
        elif kind < 0.80:
            plans.append(Plan(name, "hedged", _hedged(draw, market, coin, usd), 700_000 + draw.randrange(280_000)))
        elif kind < 0.92 or len(plans) + 2 > count:
            plans.append(Plan(name, "writer", _writer(draw, market, coin, usd), use))
        else:
            perpetual = f"{coin.name}_USDC-PERPETUAL"
            lots = market.lots(perpetual, usd)
            plans.append(Plan(name, "pair", {perpetual: lots}, use))
            plans.append(Plan(f"{name}-b", "pair", {perpetual: -lots * 4 // 5}, use, owner_of=number))
        if draw.random() < 0.25:
            plans[-1].coin, plans[-1].coin_minor = coin.name, usd * 10**10 // coin.start_usd // 20
    if weak_maker:
        plans.append(Plan("weak-maker", "maker", _weak_maker(market, sum(map(abs, [count])) * 60_000), 930_000))
    return plans


def _weak_maker(market: Market, usd: int) -> dict[str, int]:
    """Short perpetuals and short calls of the whole venue's size."""
    coin = COINS[0]
    legs = {f"{coin.name}_USDC-PERPETUAL": -market.lots(f"{coin.name}_USDC-PERPETUAL", usd // 2)}
    for expiry, steps in ((0, 1), (1, 2)):
        name = _option(coin, expiry, steps, "call")
        legs[name] = -market.lots(name, usd // 4)
    return legs


class Entry:
    """Creates accounts and trades their positions in one venue."""

    def __init__(self, engine: Any, submit: Submit, market: Market) -> None:
        self.engine, self.submit, self.market = engine, submit, market
        self.blocks = 0
        self.makers: list[int] = []

    def cold(self, kind: CommandKind, payload: Any, account_id: int = 0) -> list[tuple[int, Any]]:
        """A cold command that must not be refused."""
        found = [(event, fields) for event, fields, _ in decode(self.submit(commands.cold(kind, payload, account_id)))]
        for event, fields in found:
            if event == EventKind.COMMAND_REJECTED:
                raise RuntimeError(f"{kind.name} was refused with reason {fields.reason} ({fields.detail})")
        return found

    def account(
        self, name: str, model: Any, usd_minor: int, coin: str = "", coin_minor: int = 0, owner: int = 0
    ) -> int:
        """A funded account; its id."""
        self.cold(CommandKind.CREATE_ACCOUNT, config.CreateAccount(name=name, owner_id=owner, margin_model=model))
        account_id = int(self.engine.account_id(name))
        if usd_minor:
            self.cold(CommandKind.DEPOSIT, config.Transfer("USDC", usd_minor), account_id)
        if coin_minor:
            self.cold(CommandKind.DEPOSIT, config.Transfer(coin, coin_minor), account_id)
        return account_id

    def all(self, plans: Sequence[Plan], model: Any, maker_usd: Sequence[int], isolated: bool = False) -> list[int]:
        """Makers, then every plan's account with its positions, perpetuals `isolated` or not; the plans' accounts."""
        self.makers = [
            self.account(f"maker-{number}", model, usd * USDC_UNIT) for number, usd in enumerate(maker_usd, 1)
        ]
        ids: list[int] = []
        for place, plan in enumerate(plans):
            owner = ids[plan.owner_of - 1] if plan.owner_of else 0
            maker = self.makers[place % len(self.makers)]
            if isolated:
                ids.append(self._isolated(plan, model, owner, maker))
                continue
            account_id = self.account(plan.name, model, plan.deposit_minor, plan.coin, plan.coin_minor, owner)
            ids.append(account_id)
            self._block(account_id, maker, plan.legs)
        return ids

    def _isolated(self, plan: Plan, model: Any, owner: int, maker: int) -> int:
        """The account with its perpetuals in buckets; what is no perpetual is entered first, as in cross.

        Of its money the part in use backs its positions by their size, a bucket at most by what the rest leaves. An
        inverse perpetual's bucket holds its coin, for which dollars are paid. Where too little is left the position
        stays outside."""
        market, engine = self.market, self.engine
        account_id = self.account(plan.name, model, plan.deposit_minor, plan.coin, plan.coin_minor, owner)
        sizes = {name: market.notional_e4(market.slots[name], lots) for name, lots in plan.legs.items()}
        money = engine.exposure.margins(account_id, 0)[0] * plan.use_ppm // PPM
        perpetuals = [name for name in plan.legs if market.views[name].kind == "perpetual"]
        others = {name: lots for name, lots in plan.legs.items() if name not in perpetuals}
        if others:
            self._block(account_id, maker, others)
        for name in perpetuals:
            equity, initial, _ = engine.exposure.margins(account_id, 0)
            backed = min(money * sizes[name] // sum(sizes.values()), (equity - initial) * PPM // ENTRY_ROOM_PPM)
            leverage_e2 = max(100, -(-sizes[name] * 100 // max(1, backed)))
            if leverage_e2 > MOST_LEVERAGE_E2:
                self._block(account_id, maker, {name: plan.legs[name]})
                continue
            self._pay_in(account_id, market.views[name], backed * ENTRY_ROOM_PPM // PPM)
            payload = config.SetMarginMode(name, "isolated", leverage_e2)
            self.cold(CommandKind.SET_MARGIN_MODE, payload, account_id)
            self._trade(account_id, maker, name, plan.legs[name])
        return account_id

    def _pay_in(self, account_id: int, view: Any, usd_e4: int) -> None:
        """Money in another currency becomes, at the index, what the account lacks in the instrument's own."""
        cash = self.engine.ledger_room.cash_of
        own = 1 + self.market.number[view.underlying] if view.inverse else 0
        missing = self._minor(own, usd_e4) - int(cash(account_id, own))
        if missing <= 0:
            return
        needed = self.market.usd_e4(own, missing)
        for other, currency in enumerate(self.engine.config.currencies):
            paid = self._minor(other, needed)
            if other != own and int(cash(account_id, other)) >= paid:
                name = self.engine.config.currencies[own].name
                self.cold(CommandKind.DEPOSIT, config.Transfer(name, missing), account_id)
                self.cold(CommandKind.WITHDRAW, config.Transfer(currency.name, paid), account_id)
                return

    def _minor(self, currency: int, usd_e4: int) -> int:
        """1e-4 USD in minor units of a currency at the index."""
        if currency == 0:
            return usd_e4 * 100
        return usd_e4 * 10**14 // int(self.engine.index_price(currency - 1))

    def _trade(self, account_id: int, maker: int, name: str, lots: int) -> None:
        """Signed lots bought from a maker through the book, which is empty, at the mark."""
        view, price = self.market.views[name], self.market.price_units(name)
        for trader, side, force in (
            (maker, Side.SELL, TimeInForce.GOOD_TIL_CANCELLED), (account_id, Side.BUY, TimeInForce.FILL_OR_KILL)
        ):  # fmt: skip
            events = self.submit(
                records.place_order(
                    account_id=trader,
                    instrument=view.instrument,
                    side=int(side if lots > 0 else 1 - side),
                    price_units=price,
                    quantity_lots=abs(lots),
                    time_in_force=int(force),
                )
            )
            refused = [fields.reason for kind, fields, _ in decode(events) if kind == EventKind.ORDER_REJECTED]
            if refused:
                raise RuntimeError(f"{name}: an entry of {lots} lots was refused with reason {refused[0]}")

    def _block(self, account_id: int, maker: int, wanted: dict[str, int]) -> None:
        self.blocks += 1
        legs = tuple(
            BlockLeg(self.market.slots[name], int(lots > 0), self.market.price_units(name), abs(lots))
            for name, lots in wanted.items()
        )
        stamp = int(self.engine.time_ns) // 1_000_000
        self.cold(CommandKind.BLOCK_TRADE, BlockTrade(maker, account_id, stamp, f"entry-{self.blocks}", legs))


def money_needed(engine: Any, ids: Sequence[int], deposited: Sequence[int], uses: Sequence[int]) -> list[int]:
    """USDC minor units that each account needs so that its initial margin takes the share `uses` of its money."""
    needed = []
    for account_id, minor, use in zip(ids, deposited, uses, strict=True):
        equity, initial, _ = engine.exposure.margins(account_id, 0)
        wanted_e4 = initial * PPM // use
        needed.append(max(minor + (wanted_e4 - equity) * 100, 0) * ROOM_PPM // PPM + USDC_UNIT)
    return needed
