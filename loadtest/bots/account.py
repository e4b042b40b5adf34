"""What a bot knows of its own account: equity and margin in USD, positions and their delta."""

from typing import Any

import msgspec

from loadtest.bots.client import Client
from loadtest.bots.contracts import Contract

USD_COINS = ("USD", "USDC", "USDT")


class Funds(msgspec.Struct):
    """Equity and available funds in all and by currency."""

    equity_usd: float = 0.0
    available_usd: float = 0.0
    available: dict[str, float] = {}
    """Available funds by currency, in coins."""
    equity_usd_by_currency: dict[str, float] = {}
    cross: bool = False

    def backing_usd(self, currency: str) -> float:
        """Equity that carries positions settled in a currency: all of it in a cross account."""
        return self.equity_usd if self.cross else self.equity_usd_by_currency.get(currency, 0.0)


class Holding(msgspec.Struct):
    """One position: `size` as on the wire (signed amount), `delta` in coins of the underlying."""

    size: float
    delta: float


class Account:
    """A picture of the account, refreshed by `read_positions` and `read_funds` and by what channels bring."""

    def __init__(self, client: Client, contracts: dict[str, Contract]):
        self._client, self._contracts = client, contracts
        self.holdings: dict[str, Holding] = {}
        self.funds = Funds()
        self.index: dict[str, float] = {}
        """USD price by coin."""

    def price_of(self, currency: str) -> float:
        """USD per coin of a currency; 0.0 where unknown."""
        return 1.0 if currency in USD_COINS else self.index.get(currency, 0.0)

    async def read_positions(self) -> None:
        """Ask for all positions."""
        found = await self._client.call("private/get_positions")
        self.holdings = {}
        for position in found:
            self.note_position(position)

    def note_position(self, position: dict[str, Any]) -> None:
        """Take in a position object."""
        contract = self._contracts.get(position["instrument_name"])
        if contract is None:
            return
        self.index[contract.base] = position["index_price"]
        if position["size"]:
            self.holdings[contract.name] = Holding(position["size"], position.get("delta", 0.0))
        else:
            self.holdings.pop(contract.name, None)

    async def read_funds(self) -> None:
        """Ask for the account summaries of all currencies."""
        found = await self._client.call("private/get_account_summaries")
        funds = Funds()
        for summary in found["summaries"]:
            currency = summary["currency"]
            price = self.price_of(currency)
            funds.available[currency] = summary["available_funds"]
            funds.equity_usd_by_currency[currency] = summary["equity"] * price
            funds.equity_usd += summary["equity"] * price
            funds.available_usd += summary["available_funds"] * price
            if summary.get("cross_collateral_enabled") and "total_equity_usd" in summary:
                funds.cross = True
                funds.equity_usd = summary["total_equity_usd"]
                funds.available_usd = funds.equity_usd - summary["total_initial_margin_usd"]
        self.funds = funds

    def delta_usd(self, base: str) -> float:
        """Delta of all positions on one coin, in USD."""
        price = self.index.get(base, 0.0)
        # a holding may outlive its contract for a moment: expired, and not settled yet
        live = ((self._contracts.get(name), holding) for name, holding in self.holdings.items())
        return price * sum(
            holding.delta for contract, holding in live if contract is not None and contract.base == base
        )


class Listing:
    """Every live instrument by name. The whole list is read again only after the venue said that it changed."""

    def __init__(self, client: Client):
        self._client = client
        self._stale = True
        self.contracts: dict[str, Contract] = {}

    async def begin(self) -> None:
        """After each login: follow the listing, and read it."""
        self._stale = True
        await self._client.subscribe({"instrument.state.any.any": self._on_state})
        await self.refresh()

    def _on_state(self, data: dict[str, Any]) -> None:
        self._stale = True

    async def refresh(self) -> None:
        """Read the list where it may have changed."""
        if not self._stale:
            return
        self._stale = False
        found = await self._client.call("public/get_instruments", currency="any")
        plain = [wire for wire in found if not wire["kind"].endswith("_combo")]
        listed = [Contract.from_wire(wire) for wire in plain if wire.get("is_active", True)]
        self.contracts.clear()
        self.contracts.update((contract.name, contract) for contract in listed)


async def read_indices(client: Client, contracts: dict[str, Contract]) -> dict[str, float]:
    """USD price of every underlying."""
    names = {contract.base: contract.index_name for contract in contracts.values()}
    found = {}
    for base, index_name in sorted(names.items()):
        answer = await client.call("public/get_index_price", index_name=index_name)
        found[base] = answer["index_price"]
    return found
