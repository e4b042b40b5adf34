"""Naive margins of a running engine whatever it does: positions, cash and orders are read, all else is worked out.

Where liquidations and settlements move positions, the naive venue cannot follow; its marks and its margin model can.
"""

from exchange import commands
from exchange.commands import CommandKind
from exchange.engine import Engine
from exchange.events import EventKind
from tests.oracles.account import Account, Holding
from tests.oracles.book import Order
from tests.oracles.compare import Happened, margin_faults, row_faults
from tests.oracles.crowding import Depth
from tests.oracles.jumping import Jumping
from tests.oracles.marking import Marking
from tests.oracles.state import State
from tests.oracles.uncrossing import Uncrossing
from tests.oracles.venue import fields_of


class EngineBook:
    """The engine's best prices before its last command, where a naive book would be."""

    def __init__(self, engine: Engine, slot: int) -> None:
        self.engine = engine
        self.slot = slot
        self.best: tuple[int | None, int | None] = (None, None)
        self.levels: Depth = ([], [])

    def note(self) -> None:
        self.levels = self.engine.books.depth(self.slot, 1 << 20)
        market = self.engine.market(self.slot)
        self.best = market.best_bid_units, market.best_ask_units

    def best_price(self, side: int) -> int | None:
        return self.best[side]

    def depth(self, levels: int) -> Depth:
        return self.levels


class Shadow:
    """Follow an engine with `before` and `saw` around each command; `faults` compares margins and rows."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.state = State(engine.config)
        self.marking = Marking(self.state)
        self.marking.open_lots = lambda: dict(self.interest)
        self.interest: dict[int, int] = {}
        self.state.model.beside.crowding.others = self.others
        self.jumping = Jumping(self.state, Uncrossing(self.state))
        self.marking.check_index = self.jumping.check

    def before(self, record: bytes) -> None:
        """Note the best prices that marks will see: what they fire may trade."""
        if CommandKind(int.from_bytes(record[:2], "little")) == CommandKind.UPDATE_MARKS:
            for slot, book in self.state.books.items():
                book.note()
                self.interest[slot] = self.engine.market(slot).open_interest_lots

    def saw(self, record: bytes, happened: Happened) -> None:
        """Listings, settlements and marks of one command that the engine has applied."""
        kind = CommandKind(int.from_bytes(record[:2], "little"))
        for event, fields, _ in happened:
            if event == EventKind.INSTRUMENT_LISTED:
                self.listed(int(fields["instrument"]))
            elif event == EventKind.INSTRUMENT_SETTLED:
                self._forget(int(fields["instrument"]))
        if kind == CommandKind.UPDATE_MARKS:
            self.state.time_ns = self.engine.time_ns
            self.jumping.lapse()
            self.marking.update(fields_of(record, commands.UPDATE_MARKS), record)
            self.state.events.clear()

    def listed(self, slot: int) -> None:
        contract = self.state.list_instrument(self.engine.listing.spec(slot))
        if contract.slot != slot:
            raise ValueError(f"listed in slot {slot}, the smallest free one is {contract.slot}")
        self.state.books[slot] = EngineBook(self.engine, slot)

    def _forget(self, slot: int) -> None:
        gone = self.state.contracts.pop(slot)
        del self.state.slot_of[gone.spec.name]
        left = {c.spec.expiry_ns for c in self.state.contracts.values() if c.underlying == gone.underlying}
        if gone.spec.expiry_ns not in left:
            self.marking.forwards[gone.underlying].pop(gone.spec.expiry_ns, None)

    def others(self, account: Account) -> list[Account]:
        """The owner's other accounts, where an underlying's set asks for them."""
        return [
            self.account(a) for a in self.engine.account_ids()
            if a != account.account_id and self.engine.account(a).owner_id == account.owner_id
        ]  # fmt: skip

    def account(self, account_id: int) -> Account:
        """The engine's account as the naive model takes it."""
        engine = self.engine
        view = engine.account(account_id)
        cash = [engine.ledger_room.cash_of(account_id, c) for c in range(len(engine.config.currencies))]
        account = Account(account_id, view.owner_id, view.name, view.margin_model, cash)
        holder = engine.holder(account_id)
        if holder != account_id:
            account.holder, account.leverage_e2 = holder, engine.accounts.leverage_e2(account_id)
        for p in engine.positions(account_id):
            if p.quantity_lots:
                # accrued funding is read, so the entry is the index less what it stands for
                account.holdings[p.instrument] = Holding(p.quantity_lots, p.cost_minor - p.funding_accrued_minor)
                account.holdings[p.instrument].funding_entry = self.state.contracts[p.instrument].funding_index
        for o in engine.open_orders(account_id):
            account.orders[o.order_id] = Order(
                o.order_id, account_id, view.owner_id, o.instrument, o.side, o.price_units, o.remaining_lots,
                o.quantity_lots, flags=o.flags,
            )  # fmt: skip
        return account

    def faults(self) -> list[str]:
        """Rows and everybody's margins."""
        found = list(row_faults(self.engine, self.state))
        for account_id in self.engine.account_ids():
            found += margin_faults(self.engine, self.state, self.account(account_id))
        return found
