"""State of the naive venue: plain dicts, a double-entry ledger by name, and the events it predicts."""

from dataclasses import dataclass, replace
from typing import NamedTuple

from exchange.commands import OrderFlag
from exchange.config import Config, Instrument
from exchange.events import EventKind
from tests.oracles.account import Account, Holding, accrued
from tests.oracles.book import NaiveBook, Order
from tests.oracles.combo import contract_of
from tests.oracles.contract import PPM, Contract, ceil_div
from tests.oracles.crowding import others_of
from tests.oracles.margin import Margin, MarginModel
from tests.oracles.protection import Group, Key
from tests.oracles.span_grid import grids_of

HEALTHY, WARNING, BREACHED = range(3)


class Predicted(NamedTuple):
    """An event; fields that are not named are zero."""

    kind: EventKind
    account_id: int
    fields: dict[str, int]
    label: bytes = b""


@dataclass
class WaitingOrder:
    """An order outside the book; `price_e8` is what it waits for, `seen_e8` what made it fire.

    Of a secondary order `placed_lots` are placed already; once placed it watches `next_source`.
    """

    order_id: int
    account_id: int
    instrument: int
    side: int
    order_type: int
    time_in_force: int
    flags: int
    price_units: int
    quantity_lots: int
    key_id: int
    source: int
    price_e8: int
    offset_e8: int
    label: bytes
    fired: bool = False
    seen_e8: int = 0
    linked_id: int = 0
    both_count: bool = False
    next_source: int = 0
    placed_lots: int = 0


def relink(order: Order | WaitingOrder | None, linked_id: int) -> None:
    """Tell an order which other it is linked to."""
    if isinstance(order, WaitingOrder):
        order.linked_id = linked_id
    elif order:
        order.linked_order_id = linked_id


class State:
    """What a venue knows. With `ample`, every account is taken to meet every requirement, unseen."""

    def __init__(self, config: Config, ample: bool = False) -> None:
        self.config = config
        self.ample = ample
        self.contracts: dict[int, Contract] = {}
        self.slot_of: dict[str, int] = {}
        self.books: dict[int, NaiveBook] = {}
        self.accounts: dict[int, Account] = {}
        self.orders: dict[int, Order] = {}
        self.waiting: dict[int, WaitingOrder] = {}
        self.groups: dict[Key, Group] = {}
        self.notes: list[tuple[int, str, int]] = []
        """(order id, what became of it, lots or new id) of linked orders since links last looked."""
        self.quotes_frozen_ns: dict[int, int] = {}
        self.switches: set[tuple[str, int]] = set()
        self.stages = [0] * len(config.underlyings)
        """By the age of marks: 0 live, 1 reduce-only, 2 halt; as far as overrides let them."""
        self.aged = list(self.stages)
        """By the age alone."""
        self.caps = [2] * len(self.stages)
        self.live_since_ns = [0] * len(config.underlyings)
        self.breaches: list[int] = []
        """Accounts below maintenance that a Tick is to look at, in the order seen."""
        self.index_e8 = [0] * len(config.underlyings)
        self.grids = grids_of(config)
        self.model = MarginModel(config, self.contracts, self.grids, self.index_e8)
        self.model.groups = self.groups
        self.model.beside.crowding.others = lambda account: others_of(self.accounts.values(), account)
        self.ledger: dict[tuple[str, int], int] = {}
        self.events: list[Predicted] = []
        self.time_ns = 0
        self.pending = 0
        """Collateral that an order has drawn and that is not told yet."""
        self.drew: dict[int, int] = {}
        """By order id: collateral drawn in this command."""
        self.touched: set[int] = set()
        """Accounts in which an order ended, traded or was edited in this command."""
        self.next_order_id = self.next_trade_id = self.next_instrument_id = 1

    def emit(self, kind: EventKind, account_id: int, label: bytes = b"", **fields: int) -> None:
        self.events.append(Predicted(kind, account_id, fields, label))

    def note(self, order: Order | WaitingOrder, what: str, number: int = 0) -> None:
        """Something became of an order; it is kept where the order is linked."""
        if order.flags & OrderFlag.LINKED:
            self.notes.append((order.order_id, what, number))

    def group_of(self, order: Order) -> tuple[Key, Group] | None:
        """The protection group that an order belongs to."""
        if not order.protection_group:
            return None
        key = (order.account_id, self.contracts[order.instrument].underlying, order.protection_group)
        return key, self.groups[key]

    def in_group(self, order: Order, key: Key) -> bool:
        found = self.group_of(order)
        return found is not None and found[0] == key

    def stopped(self, account_id: int, underlying: int) -> bool:
        """Whether a kill switch keeps an account from trading what is on an underlying."""
        account = self.accounts[account_id]
        on = {("venue", 0), ("underlying", underlying), ("owner", account.owner_id)}
        return bool(self.switches & (on | {("account", account.holder or account_id)}))

    def bucket_of(self, account_id: int, slot: int) -> Account | None:
        """The bucket that an account's position in an instrument is isolated in."""
        return next((a for a in self.accounts.values() if a.holder == account_id and a.slot == slot), None)

    # ------------------------------------------------------------------ listing

    def list_instrument(self, spec: Instrument) -> Contract:
        underlying = [u.name for u in self.config.underlyings].index(spec.underlying)
        currency = [c.name for c in self.config.currencies].index(spec.settlement)
        slot = next(i for i in range(len(self.contracts) + 1) if i not in self.contracts)
        exponent = self.config.currencies[currency].exponent
        contract = contract_of(
            spec, {c.spec.name: c for c in self.contracts.values()}, slot=slot, underlying=underlying,
            instrument_id=self.next_instrument_id, currency=currency, exponent=exponent,
        )  # fmt: skip
        self.next_instrument_id += 1
        self.contracts[slot] = contract
        self.slot_of[spec.name] = slot
        self.books[slot] = NaiveBook()
        return contract

    # ------------------------------------------------------------------ money

    def post(self, name: str, number: int, currency: int, amount: int) -> None:
        """One leg: `name` is account, clearing, fees, funding, outside or fund."""
        if name == "account":
            self.accounts[number].cash[currency] += amount
        else:
            key = (f"{name}{number}" if name == "clearing" else name, currency)
            self.ledger[key] = self.ledger.get(key, 0) + amount

    def pay(self, account: Account, name: str, number: int, currency: int, amount: int) -> None:
        """Both legs of a payment to an account (negative: from it)."""
        self.post("account", account.account_id, currency, amount)
        self.post(name, number, currency, -amount)

    def imbalance(self, currency: int) -> int:
        """Sum over every account of the ledger; zero."""
        others = sum(amount for (_, c), amount in self.ledger.items() if c == currency)
        return others + sum(a.cash[currency] for a in self.accounts.values())

    def book_fill(self, account: Account, contract: Contract, lots: int, cost: int, fee: int) -> int:
        """A fill with all its legs, signed like a buy; returns the realised P&L."""
        funding, cash, realised = change_holding(account, contract, lots, cost)
        self.pay(account, "funding", 0, contract.currency, funding)
        self.pay(account, "clearing", contract.slot, contract.currency, cash)
        self.pay(account, "fees", 0, contract.currency, -fee)
        return realised

    # ------------------------------------------------------------------ health

    def entities(self, account: Account) -> range:
        return range(1 if account.model.startswith("cross") else len(account.cash))

    def check_level(self, account: Account) -> None:
        """Predict LEVEL_CHANGED when the account's worst entity has another level than before."""
        if self.ample and not account.holder:
            return
        worst, shown, currency = -1, Margin(0, 0, 0), 0
        ratios = self.config.liquidation.warning_ppm
        for entity in self.entities(account):
            m = self.model.margin(account, entity, False)
            held, least = m.equity - self.model.excluded, m.maintenance - self.model.excluded
            passed = sum(least > 0 and held < ceil_div(least * ratio, PPM) for ratio in ratios)
            if m.equity < m.maintenance:
                passed = len(ratios) + 1
            if passed > worst:
                worst, shown, currency = passed, m, entity
        if worst > len(ratios):
            account.breached = currency
        if worst == account.passed:
            return
        marks = [0, *ratios, 0]
        level = BREACHED if worst > len(ratios) else WARNING if worst else HEALTHY
        self.emit(
            EventKind.LEVEL_CHANGED, account.account_id, level=level, previous_level=account.level,
            currency=currency, warning_ppm=marks[worst], previous_warning_ppm=marks[account.passed],
            equity_minor=shown.equity, requirement_minor=shown.maintenance,
        )  # fmt: skip
        account.level, account.passed = level, worst
        if level == BREACHED and not account.in_liquidation and account.account_id not in self.breaches:
            self.breaches.append(account.account_id)


def change_holding(account: Account, contract: Contract, lots: int, cost: int) -> tuple[int, int, int]:
    """Change a position by a fill. Returns (funding due, cash leg, realised P&L); the caller moves the cash.

    Closing releases its share of the cost, rounded down, and all of it where the position closes.
    """
    held = account.holdings.pop(contract.slot, None) or Holding(funding_entry=contract.funding_index)
    funding = accrued(contract, held)
    realised = 0
    left = held.cost
    if held.lots * lots < 0:
        closing = min(abs(held.lots), abs(lots))
        closing_cost = cost * closing // abs(lots)
        released = held.cost * closing // abs(held.lots)
        realised = -closing_cost - released
        left = held.cost - released + cost - closing_cost
    else:
        left += cost
    if held.lots + lots:
        account.holdings[contract.slot] = Holding(held.lots + lots, left, contract.funding_index)
    return funding, -cost if contract.is_option else realised, realised


def copy_of(account: Account) -> Account:
    """An account to try things on; its orders are not copied."""
    holdings = {slot: replace(h) for slot, h in account.holdings.items()}
    return replace(account, cash=list(account.cash), holdings=holdings, orders={})
