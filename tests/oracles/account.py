"""Accounts of the naive venue: cash, positions, live orders, settings."""

from dataclasses import dataclass, field

from tests.oracles.book import Order
from tests.oracles.contract import Contract


@dataclass
class Holding:
    """A position: signed lots and cost, and the funding index it has been paid up to."""

    lots: int = 0
    cost: int = 0
    funding_entry: int = 0


@dataclass
class Account:
    account_id: int
    owner_id: int
    name: str
    model: str
    cash: list[int]
    holdings: dict[int, Holding] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)
    level: int = 0
    passed: int = 0
    """Thresholds that its equity is below: warnings, then maintenance."""
    reject_taker: bool = False
    own_account_only: bool = False
    holder: int = 0
    """A bucket: the account that it belongs to; `slot` is what it is for, None while it is free."""
    slot: int | None = None
    leverage_e2: int = 0
    drawn: int = 0
    """What its open orders drew from the holder."""
    in_liquidation: bool = False
    breached: int = 0
    """The entity that was below maintenance when it was last looked at."""


def accrued(contract: Contract, holding: Holding) -> int:
    """Funding owed to the position since it was last paid, rounded down (a payer pays up)."""
    return holding.lots * (holding.funding_entry - contract.funding_index) >> 64


def holding_value(contract: Contract, holding: Holding) -> int:
    """What a position adds to equity beside cash."""
    value = holding.lots * contract.mark_minor
    return value if contract.is_option else value - holding.cost + accrued(contract, holding)
