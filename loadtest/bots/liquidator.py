"""A liquidator: bids for portfolios in liquidation at its own price, and works what it bought off slowly."""

import asyncio
import logging
import math
import time
from collections import Counter
from typing import Any

import msgspec

from loadtest.bots.account import Account, Holding, Listing, read_indices
from loadtest.bots.client import Client, Disconnected, Refused
from loadtest.bots.contracts import E8, Contract, number

log = logging.getLogger("loadtest.liquidator")

USD_DECIMALS = 4
SHARE_STEP = 1e-6


class LiquidatorSettings(msgspec.Struct, frozen=True):
    """Shares of the requirement are of the auctioned portfolio's maintenance margin."""

    edge: float = 0.10
    """Profit wanted, as a share of the requirement: the reservation price is value minus this."""
    initial_factor: float = 1.4
    """Initial margin expected per unit of maintenance requirement, with some room."""
    use_of_funds: float = 0.5
    least_share: float = 0.02
    poll_s: float = 0.5
    idle_poll_s: float = 2.0
    rest_s: float = 2.0
    """Pause in an auction after a refusal."""
    raise_by: float = 0.02
    """A further bid is placed where the reservation price has risen by this share of the requirement."""
    most_standing: int = 3
    forget_s: float = 15.0
    """A bid is counted as standing for this long at most."""
    work_s: float = 2.0
    slice_share: float = 0.1
    slice_usd: float = 50_000.0
    patience_rounds: int = 5
    """Rounds after which an unfilled order reaches furthest from the mark."""
    furthest: float = 0.01
    holdings_per_round: int = 8


class Try(msgspec.Struct):
    """Our standing bids in one auction, bid id to limit, and what was learnt from refusals."""

    phase: int
    standing: dict[int, float] = {}
    bid_s: float = 0.0
    """When we last bid."""
    currency: str = ""
    committed: float = 0.0
    """Initial margin that the standing bids may come to need, in coins of the currency."""
    largest_share: float = 1.0
    """Halved each time the venue says that our margin does not carry a bid."""
    rest_until_s: float = 0.0


class Offer(msgspec.Struct):
    """A bid to place."""

    auction_id: int
    phase: int
    limit: float
    share: float


def reservation(auction: dict[str, Any], edge: float) -> float:
    """What 100 % of the remaining portfolio is worth to us: its value less `edge` of its requirement.

    Negative where we want to be paid for taking it. In coins of the auction's currency.
    """
    return auction["value"] - edge * auction["requirement"]


def offer_for(
    auction: dict[str, Any],
    available: float,
    decimals: int,
    settings: LiquidatorSettings,
    largest_share: float = 1.0,
) -> Offer | None:
    """The bid for an auction given our available funds in its currency; None where it is too small.

    The limit is rounded down to the currency's decimals, the share to millionths.
    """
    need = settings.initial_factor * auction["requirement"]
    budget = settings.use_of_funds * available
    share = largest_share if need <= 0.0 else min(largest_share, budget / need)
    share = math.floor(share / SHARE_STEP + 1e-6) * SHARE_STEP
    if share < settings.least_share:
        return None
    scale = 10**decimals
    limit = math.floor(reservation(auction, settings.edge) * scale) / scale
    return Offer(auction["auction_id"], auction["phase"], round(limit, decimals), round(share, 6))


class Liquidator:
    """Watches the channel `auctions`, polls `public/get_auctions`, bids, and sells its inventory."""

    def __init__(self, client: Client, settings: LiquidatorSettings | None = None):
        self.client, self.settings = client, settings or LiquidatorSettings()
        self.listing = Listing(client)
        self.contracts = self.listing.contracts
        self.account = Account(client, self.contracts)
        self.counts: Counter[str] = Counter()
        self._decimals: dict[str, int] = {}
        self._tries: dict[int, Try] = {}
        """What we know of each auction that runs."""
        self._rounds: dict[str, int] = {}
        self._wake = asyncio.Event()
        client.on_ready.append(self._begin)

    async def _begin(self) -> None:
        await self.client.call("private/cancel_all")
        currencies = await self.client.call("public/get_currencies")
        self._decimals = {one["currency"]: min(8, one["decimals"]) for one in currencies}
        self._tries.clear()
        await self.listing.begin()
        self.account.index.update(await read_indices(self.client, self.contracts))
        await self.account.read_positions()
        await self.account.read_funds()
        await self.client.subscribe({"auctions": self._on_auction})

    async def run(self) -> None:
        """Bid and work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._bid_for_ever())
            group.create_task(self._work_for_ever())

    def _on_auction(self, data: dict[str, Any]) -> None:
        """A step of an auction: bids that were filled or refused stand no longer."""
        kind, bid_id = data.get("type"), data.get("bid_id")
        known = self._tries.get(data.get("auction_id", 0))
        if known is not None and known.standing.pop(bid_id, None) is not None:
            if kind == "auction_lot_sold":
                self.counts["lots bought"] += 1
            elif kind == "bid_rejected":
                self._learn(known, data["reason"])
        if kind in ("snapshot", "auction_opened", "auction_phase_changed", "auction_lot_sold"):
            self._wake.set()

    # bidding

    async def _bid_for_ever(self) -> None:
        pause_s = self.settings.poll_s
        while True:
            try:
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
                await asyncio.sleep(0.05)  # the steps of one batch come together
            except TimeoutError:
                pass
            self._wake.clear()
            await self.client.ready.wait()
            try:
                auctions = await self.client.call("public/get_auctions")
                pause_s = self.settings.poll_s if auctions else self.settings.idle_poll_s
                running = {auction["auction_id"] for auction in auctions}
                for ended in self._tries.keys() - running:
                    del self._tries[ended]
                if auctions:
                    await self.account.read_funds()
                for auction in auctions:
                    await self._bid(auction)
            except (Disconnected, Refused, TimeoutError) as error:
                log.info("auctions: %s", error)

    def _available(self, currency: str) -> float:
        """Funds free for new margin, in coins of an auction's currency."""
        funds, price = self.account.funds, self.account.price_of(currency)
        standing = [one for one in self._tries.values() if one.standing]
        if not funds.cross:
            committed = sum(one.committed for one in standing if one.currency == currency)
            return funds.available.get(currency, 0.0) - committed
        committed_usd = sum(one.committed * self.account.price_of(one.currency) for one in standing)
        return (funds.available_usd - committed_usd) / price if price else 0.0

    async def _bid(self, auction: dict[str, Any]) -> None:
        """Bid where none of our bids stands at about today's reservation price."""
        settings, now_s = self.settings, time.monotonic()
        known = self._tries.get(auction["auction_id"])
        if known is None or known.phase != auction["phase"]:
            self.counts["auctions"] += known is None
            known = self._tries[auction["auction_id"]] = Try(auction["phase"])
        if auction["bids"] < len(known.standing):
            known.standing.clear()  # refused at its turn, which only the count shows: too large, most likely
            self._learn(known, "bidder_margin")
        elif now_s - known.bid_s > settings.forget_s:
            known.standing.clear()
        best = max(known.standing.values(), default=-math.inf)
        nearly = reservation(auction, settings.edge) - settings.raise_by * auction["requirement"]
        if now_s < known.rest_until_s or best >= nearly or len(known.standing) >= settings.most_standing:
            return
        currency = auction["currency"]
        decimals = self._decimals.get(currency, USD_DECIMALS)
        offer = offer_for(auction, self._available(currency), decimals, settings, known.largest_share)
        if offer is None:
            self.counts["too small"] += 1
            known.rest_until_s = now_s + settings.rest_s
            return
        try:
            placed = await self.client.call("private/place_bid", **msgspec.structs.asdict(offer))
        except Refused as error:
            self._learn(known, error.reason or str(error.code))
            return
        known.standing[placed["bid_id"]] = offer.limit
        known.bid_s, known.currency = now_s, currency
        need = settings.initial_factor * auction["requirement"] * offer.share
        known.committed = max(need, known.committed if len(known.standing) > 1 else 0.0)
        self.counts["bids"] += 1

    def _learn(self, known: Try, reason: str) -> None:
        """Take a smaller share where our margin was the reason; otherwise wait a moment."""
        self.counts[f"refused {reason}"] += 1
        if reason == "bidder_margin" and known.largest_share > 2 * self.settings.least_share:
            known.largest_share *= 0.5
        elif reason != "wrong_phase":
            known.largest_share = 1.0
            known.rest_until_s = time.monotonic() + self.settings.rest_s

    # working the inventory off

    async def _work_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self.settings.work_s)
            await self.client.ready.wait()
            try:
                await self._work()
            except (Disconnected, Refused, TimeoutError) as error:
                log.info("work: %s", error)

    async def _work(self) -> None:
        """Replace the resting orders by a reduce-only slice of each of the least worked positions."""
        await self.client.call("private/cancel_all")
        await self.listing.refresh()
        await self.account.read_positions()
        held = self.account.holdings
        self._rounds = {name: self._rounds.get(name, 0) for name in held}
        chosen = sorted(held, key=lambda name: (self._rounds[name], name))
        for name in chosen[: self.settings.holdings_per_round]:
            self._rounds[name] += 1
            contract, holding = self.contracts[name], held[name]
            try:
                await self._sell_slice(contract, holding, self._rounds[name])
            except Refused as error:
                self.counts[f"refused {error.reason or error.code}"] += 1
                log.debug("%s: %s", name, error)

    def slice_e8(self, contract: Contract, holding: Holding, index: float) -> int:
        """The amount to offer this round: a share of the position, bounded in USD, at least the minimum."""
        most_e8 = contract.amount_e8(self.settings.slice_usd, index)
        part_e8 = int(abs(holding.size) * self.settings.slice_share * E8)
        part_e8 -= part_e8 % contract.step_e8
        return min(contract.whole_e8(abs(holding.size)), max(contract.min_amount_e8, min(part_e8, most_e8)))

    async def _sell_slice(self, contract: Contract, holding: Holding, rounds: int) -> None:
        settings = self.settings
        ticker = await self.client.call("public/ticker", instrument_name=contract.name)
        mark, index = ticker["mark_price"], ticker["index_price"]
        if not mark or not index:
            return
        amount_e8 = self.slice_e8(contract, holding, index)
        if not amount_e8:
            return
        # From the mark outwards, further each round, back at the mark after the furthest.
        reach = settings.furthest * ((rounds - 1) % (settings.patience_rounds + 1)) / settings.patience_rounds
        away = reach * (mark if contract.kind != "option" else max(mark, 0.1 if contract.inverse else 0.1 * index))
        if holding.size > 0:
            price_e8 = contract.price_up_e8(max(mark - away, ticker["min_price"]))
        else:
            price_e8 = contract.price_down_e8(min(mark + away, ticker["max_price"]))
        if price_e8 <= 0:
            return
        await self.client.call(
            "private/sell" if holding.size > 0 else "private/buy",
            instrument_name=contract.name,
            amount=number(amount_e8),
            price=number(price_e8),
            reduce_only=True,
            label="inventory",
        )
        self.counts["inventory orders"] += 1
