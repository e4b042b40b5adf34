"""A seeded Poisson taker: small orders against the quotes of perpetuals and options near the money."""

import asyncio
import logging
import random
from collections import Counter
from typing import Any

import msgspec

from loadtest.bots.account import Account, Listing, read_indices
from loadtest.bots.client import Client, Disconnected, Refused
from loadtest.bots.contracts import Contract, near_the_money, number, to_e8

log = logging.getLogger("loadtest.taker")


class TakerSettings(msgspec.Struct, frozen=True):
    """Sizes in USD; `rate_per_second` is the intensity of the Poisson process."""

    rate_per_second: float = 4.0
    option_share: float = 0.35
    order_usd: float = 4_000.0
    full_equity: float = 0.5
    """Delta, as a share of equity, at which only orders that reduce it are sent."""
    expiries: int = 2
    strikes: int = 4
    refresh_s: float = 5.0
    slippage: float = 0.002
    """How far through the best price an order may reach."""


class Taker:
    """Takes liquidity at exponential intervals; direction leans against the position, so it stays bounded."""

    def __init__(self, client: Client, seed: int, settings: TakerSettings | None = None):
        self.client, self.settings = client, settings or TakerSettings()
        self.listing = Listing(client)
        self.contracts = self.listing.contracts
        self.account = Account(client, self.contracts)
        self.counts: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._perpetuals: list[Contract] = []
        self._options: list[Contract] = []
        client.on_ready.append(self._begin)

    async def _begin(self) -> None:
        await self.listing.begin()
        await self._refresh()

    async def _refresh(self) -> None:
        """Read index, positions and funds, and choose the options near the money."""
        settings = self.settings
        await self.listing.refresh()
        self.account.index.update(await read_indices(self.client, self.contracts))
        await self.account.read_positions()
        await self.account.read_funds()
        now_ms = await self.client.call("public/get_time")
        carried = (one for one in self.contracts.values() if self.account.funds.backing_usd(one.settlement) > 0)
        listed = sorted(carried, key=lambda one: one.name)
        self._perpetuals = [one for one in listed if one.kind == "perpetual"]
        self._options = []
        for base, index in sorted(self.account.index.items()):
            family = [one for one in listed if one.base == base and one.inverse]
            self._options += near_the_money(family, index, now_ms, settings.expiries, settings.strikes)

    async def run(self) -> None:
        """Trade until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._refresh_for_ever())
            group.create_task(self._trade_for_ever())

    async def _refresh_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self.settings.refresh_s)
            await self.client.ready.wait()
            try:
                await self._refresh()
            except (Disconnected, Refused, TimeoutError) as error:
                log.info("refresh: %s", error)

    async def _trade_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._random.expovariate(self.settings.rate_per_second))
            await self.client.ready.wait()
            options = self._options and self._random.random() < self.settings.option_share
            choice = self._options if options else self._perpetuals
            if not choice:
                continue
            contract = self._random.choice(choice)
            usd = self.settings.order_usd * self._random.expovariate(1.0)
            draw = self._random.random()
            try:
                await self._trade(contract, usd, draw)
            except Refused as error:
                self.counts[f"refused {error.code}"] += 1
                log.debug("%s: %s", contract.name, error)
            except (Disconnected, TimeoutError) as error:
                log.info("%s: %s", contract.name, error)

    def chance_of_buying(self, contract: Contract) -> float:
        """0 to 1: one half when flat, less the longer the account is (in delta, or in the option held)."""
        full_usd = max(1.0, self.settings.full_equity * self.account.funds.equity_usd)
        if contract.kind == "option":
            holding = self.account.holdings.get(contract.name)
            notional = self.account.index.get(contract.base, 0.0)
            exposure_usd = 20.0 * holding.size * notional if holding else 0.0
        else:
            exposure_usd = self.account.delta_usd(contract.base)
        return min(1.0, max(0.0, 0.5 - 0.5 * exposure_usd / full_usd))

    async def _trade(self, contract: Contract, usd: float, draw: float) -> None:
        buying = draw < self.chance_of_buying(contract)
        ticker: dict[str, Any] = await self.client.call("public/ticker", instrument_name=contract.name)
        best, size = (
            (ticker["best_ask_price"], ticker["best_ask_amount"])
            if buying
            else (ticker["best_bid_price"], ticker["best_bid_amount"])
        )
        if not best or not ticker["index_price"]:
            self.counts["empty books"] += 1
            return
        amount_e8 = contract.amount_e8(usd, ticker["index_price"])
        if contract.kind == "option":
            amount_e8 = max(contract.min_amount_e8, min(amount_e8, contract.whole_e8(size)))
        reach = self.settings.slippage * (best if contract.kind != "option" else 0.0)
        if buying:
            price_e8 = contract.price_down_e8(min(best + reach, max(best, ticker["max_price"])))
        else:
            price_e8 = contract.price_up_e8(max(best - reach, min(best, ticker["min_price"])))
        if not buying and contract.kind == "option":
            price_e8 = max(price_e8, to_e8(ticker["min_price"]))
        answer = await self.client.call(
            "private/buy" if buying else "private/sell",
            instrument_name=contract.name,
            amount=number(amount_e8),
            price=number(price_e8),
            time_in_force="immediate_or_cancel",
            label="taker",
        )
        self.counts["orders"] += 1
        self.counts["trades"] += len(answer["trades"])
