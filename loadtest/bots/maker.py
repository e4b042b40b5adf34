"""A market maker: perpetuals, the next dated futures and the options nearest the money, on both sides."""

import asyncio
import logging
import time
from collections import Counter
from typing import Any

from loadtest.bots.account import Account, Listing, read_indices
from loadtest.bots.client import Client, Disconnected, Refused
from loadtest.bots.contracts import E8, Contract, near_the_money, number, to_e8
from loadtest.bots.desk import Desk, MakerSettings
from loadtest.bots.pacing import Pacer
from loadtest.bots.quoting import (
    BUY,
    Change,
    Market,
    Quote,
    Resting,
    Turbulence,
    changes,
    future_quotes,
    option_quotes,
    tolerance_e8,
)

log = logging.getLogger("loadtest.maker")

CALM_REFUSALS = frozenset((10004, 11044, 11054))
"""The order had ended already, or would have crossed: nothing to wait for."""
OPTIONS_A_TURN = 8
"""Options that have their turn before a future that moved again has its next."""
GONE_REASONS = frozenset(("instrument not found", "unknown_instrument", "instrument_expired"))
CLOSED_STATES = frozenset(("filled", "cancelled", "rejected"))


class Maker:
    """Quotes on one connection with cancel-on-disconnect. `start` hooks it into the client, `run` works."""

    def __init__(self, client: Client, settings: MakerSettings | None = None):
        self.client, self.settings = client, settings or MakerSettings()
        self.desks: dict[str, Desk] = {}
        self.listing = Listing(client)
        self.contracts = self.listing.contracts
        self.account = Account(client, self.contracts)
        self.counts: Counter[str] = Counter()
        self._turbulence: dict[str, Turbulence] = {}
        self._pacer = Pacer(self.settings.orders_per_second, self.settings.burst)
        self._wake = asyncio.Event()
        client.on_ready.append(self._begin)
        client.on_lost.append(self._forget_orders)

    # life

    async def _begin(self) -> None:
        """After each login: no order of ours is left over; read what is listed and choose what to quote."""
        await self.client.call("private/cancel_all")
        self._forget_orders()
        await self.listing.begin()
        self.account.index.update(await read_indices(self.client, self.contracts))
        await self.account.read_positions()
        await self.account.read_funds()
        await self.client.subscribe({"user.changes.any.any.raw": self._on_changes})
        await self._choose()

    def _forget_orders(self) -> None:
        for desk in self.desks.values():
            desk.resting.clear()

    async def run(self) -> None:
        """Quote until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._refresh_for_ever())
            group.create_task(self._quote_for_ever())

    async def _refresh_for_ever(self) -> None:
        chosen_s = time.monotonic()
        while True:
            await asyncio.sleep(self.settings.refresh_s)
            await self.client.ready.wait()
            try:
                await self.account.read_positions()
                await self.account.read_funds()
                if time.monotonic() - chosen_s > self.settings.choose_s:
                    chosen_s = time.monotonic()
                    await self.listing.refresh()
                    await self._choose()
            except (Disconnected, Refused, TimeoutError) as error:
                log.info("refresh: %s", error)
            self._wake.set()

    # what to quote

    async def _choose(self) -> None:
        """Quote the perpetuals, the next futures and the options near the money; give up the others."""
        now_ms = await self.client.call("public/get_time")
        wanted: dict[str, Contract] = {}
        for base, index in self.account.index.items():
            mine = [one for one in self.contracts.values() if one.base == base and one.expiry_ms > now_ms]
            wanted |= {one.name: one for one in mine if one.kind == "perpetual"}
            futures = sorted((one for one in mine if one.kind == "future"), key=lambda one: one.expiry_ms)
            wanted |= {one.name: one for one in futures[: self.settings.futures]}
            for inverse in (True, False):
                family = [one for one in mine if one.inverse == inverse]
                near = near_the_money(family, index, now_ms, self.settings.expiries, self.settings.strikes)
                wanted |= {one.name: one for one in near}
        for name in self.desks.keys() - wanted.keys():
            self.desks[name].retired = self.desks[name].dirty = True
        fresh = [contract for name, contract in wanted.items() if name not in self.desks]
        for contract in fresh:
            self.desks[contract.name] = Desk(contract)
        for name in wanted:
            self.desks[name].retired = False
        await self.client.subscribe({self._channel(one): self._listener(one.name) for one in fresh})
        self._wake.set()

    @staticmethod
    def _channel(contract: Contract) -> str:
        return f"ticker.{contract.name}.{'agg2' if contract.kind == 'option' else '100ms'}"

    def _listener(self, name: str) -> Any:
        def on_ticker(data: dict[str, Any]) -> None:
            desk = self.desks.get(name)
            if desk is None:
                return
            desk.market, desk.dirty = Market.from_wire(data), True
            if desk.contract.kind == "perpetual" and data["index_price"]:
                base, index = desk.contract.base, data["index_price"]
                self.account.index[base] = index
                self._turbulence.setdefault(base, Turbulence()).update(index, time.monotonic())
            self._wake.set()

        return on_ticker

    # fills

    def _on_changes(self, data: dict[str, Any]) -> None:
        """Fills and endings of our orders, wherever they come from."""
        desk = self.desks.get(data["instrument_name"])
        self.counts["trades"] += len(data["trades"])
        for position in data["positions"]:
            self.account.note_position(position)
        if desk is None:
            return
        for order in data["orders"]:
            for key, resting in list(desk.resting.items()):
                if resting.order_id == order["order_id"]:
                    self._note_order(desk, key, order, resting.asked_e8)
        if data["trades"]:
            desk.dirty = True
            self._wake.set()

    @staticmethod
    def _note_order(desk: Desk, key: tuple[str, int], order: dict[str, Any], asked_e8: int) -> None:
        if order["order_state"] in CLOSED_STATES:
            desk.resting.pop(key, None)
        else:
            desk.resting[key] = Resting(
                order["order_id"], asked_e8, to_e8(order["amount"]), to_e8(order["filled_amount"])
            )

    # quoting

    async def _quote_for_ever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.client.ready.wait()
            due = self._due()
            # Futures first: they move fastest and hedge the rest. Then whatever has waited longest.
            due.sort(key=lambda desk: (desk.contract.kind == "option", desk.quoted_s))
            options = 0
            for desk in due:
                desk.dirty, desk.quoted_s = False, time.monotonic()
                await self._requote(desk)
                options += desk.contract.kind == "option"
                if options >= OPTIONS_A_TURN and any(one.contract.kind != "option" for one in self._due()):
                    self._wake.set()
                    break

    def _due(self) -> list[Desk]:
        """What has news and does not rest."""
        now_s = time.monotonic()
        return [desk for desk in self.desks.values() if desk.dirty and desk.paused_until_s <= now_s]

    def wanted(self, desk: Desk) -> list[Quote]:
        """The quotes an instrument should have now; none where the account holds nothing to carry them."""
        contract, market, settings = desk.contract, desk.market, self.settings
        equity_usd = self.account.funds.backing_usd(contract.settlement)
        if market is None or desk.retired or equity_usd <= 0.0 or market.index <= 0.0:
            return []
        turbulence = self._turbulence.get(contract.base)
        sigma = turbulence.sigma(settings.style.reaction_s) if turbulence else 0.0
        if contract.kind == "option":
            usd = min(settings.option_usd, settings.option_equity * equity_usd)
            amount_e8 = contract.amount_e8(usd, market.index)
            holding = self.account.holdings.get(contract.name)
            full = settings.option_inventory_orders * amount_e8 / E8
            inventory = holding.size / full if holding else 0.0
            return option_quotes(contract, market, settings.style, inventory, sigma, amount_e8)
        usd = min(settings.order_usd, settings.order_equity * equity_usd)
        full_usd = max(1.0, settings.inventory_equity * equity_usd)
        inventory = self.account.delta_usd(contract.base) / full_usd
        amount_e8 = contract.amount_e8(usd, market.index)
        return future_quotes(contract, market, settings.style, inventory, sigma, amount_e8)

    async def _requote(self, desk: Desk) -> None:
        quotes = self.wanted(desk)
        todo = changes(desk.resting, quotes, tolerance_e8(quotes))
        if todo:
            await asyncio.gather(*(self._send(desk, change) for change in todo))
        elif desk.pause_s and quotes:
            desk.pause_s = 0.0
        if desk.retired and not desk.resting:
            self.desks.pop(desk.contract.name, None)
            try:
                await self.client.unsubscribe([self._channel(desk.contract)])
            except (Disconnected, Refused, TimeoutError) as error:
                log.info("unsubscribe: %s", error)

    async def _send(self, desk: Desk, change: Change) -> None:
        await self._pacer.spend()
        quote, resting = change.quote, change.resting
        try:
            if quote is None:
                self.counts["cancels"] += 1
                await self.client.call("private/cancel", order_id=resting.order_id)
                desk.resting.pop(change.key, None)
                return
            fields = {"price": number(quote.price_e8), "post_only": True}
            if resting is None:
                self.counts["orders"] += 1
                answer = await self.client.call(
                    "private/buy" if quote.side == BUY else "private/sell",
                    instrument_name=desk.contract.name,
                    amount=number(quote.amount_e8),
                    label=f"{quote.side}{quote.level}",
                    **fields,
                )
            else:
                self.counts["edits"] += 1
                amount = number(resting.filled_e8 + quote.amount_e8)
                answer = await self.client.call("private/edit", order_id=resting.order_id, amount=amount, **fields)
            self._note_order(desk, change.key, answer["order"], quote.price_e8)
        except Refused as error:
            await self._refused(desk, change, error)
        except (Disconnected, TimeoutError) as error:
            log.info("%s: %s", desk.contract.name, error)

    async def _refused(self, desk: Desk, change: Change, error: Refused) -> None:
        """An order that had ended is forgotten; other refusals rest the instrument, and an order that could
        not be moved is withdrawn rather than left at an old price."""
        self.counts[f"refused {error.code}"] += 1
        desk.dirty = True
        resting = desk.resting.pop(change.key, None)
        if error.reason in GONE_REASONS:
            desk.resting.clear()
            desk.retired = True
            return
        if error.code in CALM_REFUSALS:
            return
        log.debug("%s: %s", desk.contract.name, error)
        desk.refused(time.monotonic())
        if resting is not None:
            try:
                await self.client.call("private/cancel", order_id=resting.order_id)
            except (Refused, Disconnected, TimeoutError) as again:
                log.debug("%s: %s", desk.contract.name, again)
