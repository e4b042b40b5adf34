"""A naive venue: takes the engine's command records and predicts its events and its accounts' margins.

It shares with the engine the record layouts, the configuration and the pricing kernels, and no code. Expiry is not
predicted: histories given to it carry no Tick that would settle anything.
"""

from typing import Any

import msgspec
import numpy as np

from exchange import commands, config, governance, payloads
from exchange.commands import CommandKind
from exchange.events import BalanceCause, EventKind
from exchange.reasons import Reason
from tests.oracles.account import Account
from tests.oracles.advancing import Advancing
from tests.oracles.announcing import Announcing
from tests.oracles.blocks import Blocks
from tests.oracles.calendar import next_day_end
from tests.oracles.cutting import cut
from tests.oracles.debts import Debts
from tests.oracles.defaulting import Defaulting
from tests.oracles.isolating import Isolating
from tests.oracles.jumping import Jumping
from tests.oracles.linking import AT_ONCE
from tests.oracles.links import Links
from tests.oracles.marking import Marking
from tests.oracles.moving import Moving
from tests.oracles.overriding import Overriding
from tests.oracles.preferring import Preferring
from tests.oracles.pretrade import Refused, require
from tests.oracles.purses import Purses
from tests.oracles.quoting import Quoting
from tests.oracles.reading import fields_of
from tests.oracles.staging import Staging
from tests.oracles.state import Predicted, State
from tests.oracles.switches import KillSwitch
from tests.oracles.trading import Trading
from tests.oracles.waiting import NO_TERMS, TYPES, Waiting

AUCTIONS = (CommandKind.PLACE_BID, CommandKind.GRANT_FUND_LEASE, CommandKind.SETTLE_FUND_LEASE)


class Venue:
    """The whole: `apply` returns the predicted events."""

    def __init__(self, ample: bool = False) -> None:
        self.ample = ample
        self.state: State | None = None
        self.day_end_ns = 0

    def apply(self, record: bytes) -> list[Predicted]:
        header = fields_of(record[: commands.HEADER_BYTES], np.dtype(commands.HEADER))
        kind, account_id = CommandKind(header["kind"]), header["account_id"]
        if kind == CommandKind.GENESIS:
            self.genesis(config.decode_config(commands.payload(record)), header["time_ns"])
            return self.take()
        self.state.time_ns = header["time_ns"]
        self.links.left, self.links.heard = AT_ONCE, False
        self.overriding.look()
        self.staging.look()
        self.jumping.lapse()
        if self.isolating.is_bucket(account_id):
            self.state.emit(EventKind.COMMAND_REJECTED, account_id, command_kind=kind, reason=Reason.UNKNOWN_ACCOUNT)
        elif kind == CommandKind.PLACE_LINKED:
            self.links.command(account_id, commands.payload(record))
        elif kind >= commands.FIRST_COLD:
            self.cold(kind, account_id, commands.payload(record))
            self.waiting.look()
        else:
            self.hot(kind, account_id, record)
        cut(self.trading)
        if self.state.notes or self.links.heard or kind == CommandKind.TICK:
            self.links.follow()
            cut(self.trading)
        self.isolating.end_command()
        return self.take()

    def hot(self, kind: CommandKind, account_id: int, record: bytes) -> None:
        layout = commands.LAYOUTS[kind]
        command = fields_of(record, layout)
        account_id = self.isolating.route(kind, command, account_id)
        at, size, slots = layout.itemsize, command.get("label_bytes", 0), 0
        waits = kind == CommandKind.PLACE_ORDER and command["order_type"] in TYPES
        if kind in (CommandKind.PLACE_ORDER, CommandKind.EDIT_ORDER):
            slots = command["terms_slots"]
            at += min(slots, 1) * commands.SLOT_BYTES
        label = record[at : at + size]
        if size > len(record) - at or slots > 1 or (waits and slots == 0):
            self.state.emit(EventKind.COMMAND_REJECTED, account_id, command_kind=kind, reason=Reason.BAD_PAYLOAD)
            return
        terms = fields_of(record[commands.SLOT_BYTES :], commands.ORDER_TERMS) if slots else NO_TERMS
        if waits:
            self.waiting.place(command, terms, account_id, label)
        elif kind == CommandKind.PLACE_ORDER:
            self.trading.place(command, terms, account_id, label)
            self.waiting.look()
        elif kind in (CommandKind.EDIT_ORDER, CommandKind.CANCEL_ORDER):
            self.change(kind, command, terms, account_id)
        elif kind == CommandKind.CANCEL_ALL:
            count = sum(
                self.waiting.cancel_all(command, bucket.account_id, label)
                + self.trading.cancel_named(command, bucket, label)
                for bucket in self.isolating.buckets(account_id)
            )
            count += self.waiting.cancel_all(command, account_id, label)
            self.trading.cancel_all(command, account_id, label, count)
        elif kind == CommandKind.UPDATE_MARKS:
            if self.marking.update(command, record):
                self.after_marks(command["underlying"])
        elif kind == CommandKind.TICK:
            self.tick()
        elif kind in AUCTIONS:
            self.auction_command(kind, command, account_id)
        elif kind == CommandKind.MASS_QUOTE:
            self.quoting.mass_quote(command, record, account_id)
            self.waiting.look()
        elif kind == CommandKind.CANCEL_QUOTES:
            self.quoting.cancel(command, record, account_id)
        else:
            raise NotImplementedError(kind.name)

    def auction_command(self, kind: CommandKind, command: dict[str, Any], account_id: int) -> None:
        """A bid, or the fund's answer about a lease."""
        if kind == CommandKind.PLACE_BID:
            bid = (command["auction_id"], command["phase"], command["limit_minor"], command["share_ppm"])
            self.defaulting.auctions.bid(account_id, *bid)
            return
        try:
            if kind == CommandKind.GRANT_FUND_LEASE:
                granted = (command["amount_minor"], bool(command["exhausted"]))
                self.defaulting.leasing.granted(command["lease_id"], *granted)
            else:
                self.defaulting.leasing.settled(command["lease_id"], command["used_minor"])
        except Refused as refused:
            self.state.emit(
                EventKind.COMMAND_REJECTED, account_id, command_kind=kind, reason=refused.reason,
                detail=command["lease_id"],
            )  # fmt: skip

    def change(self, kind: CommandKind, command: dict[str, Any], terms: dict[str, Any], account_id: int) -> None:
        """An edit or a cancel, of a waiting order or a live one."""
        waiting = self.waiting.of(command["order_id"], account_id)
        if kind == CommandKind.CANCEL_ORDER:
            if waiting:
                self.waiting.withdraw(waiting, command["reason"])
            else:
                self.trading.cancel(command, account_id)
        elif waiting:
            self.waiting.edit(command, terms, waiting)
        else:
            self.trading.edit(command, terms, account_id)
            self.waiting.look()

    def tick(self) -> None:
        """The day may end; then more of what has fired is placed."""
        if self.state.time_ns >= self.day_end_ns:
            self.day_end_ns = next_day_end(self.state.time_ns)
            self.waiting.end_of_day()
            self.trading.end_of_day()
        self.advancing.tick()
        self.trading.end_auctions()
        self.waiting.drain()
        self.waiting.look()
        self.debts.tick()
        self.defaulting.tick()
        self.announcing.tick()

    def marked(self, u: int, index: int) -> None:
        self.staging.look()
        self.jumping.watch(u, index)

    def after_marks(self, u: int) -> None:
        self.advancing.on_marks(u)
        self.waiting.saw_marks()

    def take(self) -> list[Predicted]:
        events, self.state.events = self.state.events, []
        return events

    def genesis(self, configuration: config.Config, time_ns: int) -> None:
        self.state = State(configuration, self.ample)
        self.state.time_ns = time_ns
        self.day_end_ns = next_day_end(time_ns)
        self.trading = Trading(self.state)
        self.isolating = self.trading.isolating = Isolating(self.state)
        self.waiting = Waiting(self.trading)
        self.links = Links(self.waiting)
        self.advancing = Advancing(self.trading)
        self.quoting = Quoting(self.trading)
        self.switches = KillSwitch(self.waiting)
        self.preferring = Preferring(self.state)
        self.purses = Purses(self.state)
        self.blocks = Blocks(self.trading)
        self.marking = Marking(self.state)
        self.staging = Staging(self.state, self.marking)
        self.jumping = Jumping(self.state, self.trading)
        self.marking.check_index, self.marking.on_marked = self.jumping.check, self.marked
        self.debts = Debts(self.state, self.marking)
        self.defaulting = Defaulting(self.waiting, self.preferring)
        self.announcing = self.isolating.announcing = Announcing(self.state)
        self.overriding = Overriding(self.state, self.marking, self.staging, self.jumping, self.announcing)
        self.overriding.after_marks = self.after_marks
        self.moving = Moving(self.state, self.announcing)
        for spec in configuration.instruments:
            self.list_one(spec)

    def list_one(self, spec: config.Instrument) -> None:
        c = self.state.list_instrument(spec)
        self.state.emit(EventKind.INSTRUMENT_LISTED, 0, instrument=c.slot, state=1, instrument_id=c.instrument_id)

    def list_many(self, _: int, payload: config.ListInstruments) -> None:
        for spec in payload.instruments:
            self.list_one(spec)
        self.detail = len(payload.instruments)

    # ------------------------------------------------------------------ cold commands

    def cold(self, kind: CommandKind, account_id: int, body: bytes) -> None:
        handlers = {
            CommandKind.CREATE_ACCOUNT: (self.create_account, config.CreateAccount),
            CommandKind.LIST_INSTRUMENTS: (self.list_many, config.ListInstruments),
            CommandKind.DEPOSIT: (self.deposit, config.Transfer),
            CommandKind.WITHDRAW: (self.withdraw, config.Transfer),
            CommandKind.SET_INSTRUMENT_STATE: (self.set_state, config.InstrumentState),
            CommandKind.CHANGE_MARGIN_MODEL: (self.change_model, config.ChangeMarginModel),
            CommandKind.SET_SELF_TRADE: (self.set_self_trade, config.SelfTrade),
            CommandKind.BLOCK_TRADE: (self.block, payloads.BlockTrade),
            CommandKind.SET_PROTECTION: (self.protect, payloads.Protection),
            CommandKind.RESET_PROTECTION: (self.quoting.reset, payloads.ResetProtection),
            CommandKind.KILL_SWITCH: (self.kill, payloads.KillSwitch),
            CommandKind.SET_MARGIN_MODE: (self.isolate, config.SetMarginMode),
            CommandKind.MOVE_COLLATERAL: (self.collateral, config.MoveCollateral),
        }
        preferences = {
            CommandKind.SET_UNWIND: (self.preferring.unwind, payloads.SetUnwind),
            CommandKind.SET_BACKSTOP: (self.preferring.backstop, payloads.SetBackstop),
            CommandKind.SET_AUCTION_TERMS: (self.preferring.terms, payloads.AuctionTerms),
            CommandKind.ENDOW_FUND: (self.purses.endow_fund, config.Transfer),
            CommandKind.ENDOW_CAPITAL: (self.purses.endow_capital, config.Transfer),
            CommandKind.RELEASE_CAPITAL: (self.purses.release_capital, config.Transfer),
            CommandKind.ANNOUNCE_MARGIN: (self.announcing.announce, governance.AnnounceMargin),
            CommandKind.PROPOSE_OVERRIDE: (self.overriding.propose, governance.ProposeOverride),
            CommandKind.DECIDE_OVERRIDE: (self.overriding.decide, governance.DecideOverride),
            CommandKind.SUBMIT_TRANSFER: (self.moving.submit, payloads.SubmitTransfer),
        }
        handler, layout = (handlers | preferences)[kind]
        self.detail, trades = 0, self.state.next_trade_id
        try:
            answer = handler(account_id, msgspec.msgpack.decode(body, type=layout))
            if kind in preferences:
                self.detail = answer
        except Refused as refused:
            self.state.emit(
                EventKind.COMMAND_REJECTED, account_id, command_kind=kind, reason=refused.reason,
                detail=getattr(refused, "detail", self.detail),
            )  # fmt: skip
        else:
            if self.state.next_trade_id != trades:
                self.waiting.look()
            self.state.emit(EventKind.COMMAND_DONE, account_id, command_kind=kind, detail=self.detail)

    def create_account(self, _: int, payload: config.CreateAccount) -> None:
        s = self.state
        self.detail = next((a.account_id for a in s.accounts.values() if a.name == payload.name), 0)
        require(self.detail == 0, Reason.ACCOUNT_EXISTS)
        require(len(s.accounts) < s.config.limits.max_accounts, Reason.LIMIT_REACHED)
        number = self.detail = len(s.accounts) + 1
        cash = [0] * len(s.config.currencies)
        account = Account(number, payload.owner_id or number, payload.name, payload.margin_model, cash)
        s.accounts[number] = account
        s.emit(
            EventKind.ACCOUNT_CREATED, number, owner_id=account.owner_id,
            margin_model=config.MARGIN_MODELS.index(payload.margin_model),
        )  # fmt: skip

    def known(self, account_id: int, payload: config.Transfer) -> tuple[Account, int]:
        """Account and currency of a transfer."""
        s = self.state
        names = [c.name for c in s.config.currencies]
        require(payload.currency in names, Reason.UNKNOWN_CURRENCY)
        require(payload.amount_minor > 0, Reason.AMOUNT_NOT_POSITIVE)
        require(payload.amount_minor <= s.config.limits.max_balance_minor // 2, Reason.AMOUNT_TOO_LARGE)
        require(account_id in s.accounts, Reason.UNKNOWN_ACCOUNT)
        return s.accounts[account_id], names.index(payload.currency)

    def deposit(self, account_id: int, payload: config.Transfer) -> None:
        account, currency = self.known(account_id, payload)
        after = account.cash[currency] + payload.amount_minor
        require(after <= self.state.config.limits.max_balance_minor // 2, Reason.AMOUNT_TOO_LARGE)
        self.move(account, currency, payload.amount_minor, BalanceCause.DEPOSIT, payload.reference)

    def withdraw(self, account_id: int, payload: config.Transfer) -> None:
        account, currency = self.known(account_id, payload)
        require(not account.in_liquidation, Reason.ACCOUNT_IN_LIQUIDATION)
        amount = payload.amount_minor
        self.announcing.leaving(account, currency, amount)
        self.move(account, currency, -amount, BalanceCause.WITHDRAWAL, payload.reference)

    def move(self, account: Account, currency: int, amount: int, cause: BalanceCause, reference: int) -> None:
        s = self.state
        s.pay(account, "outside", 0, currency, amount)
        s.emit(
            EventKind.BALANCE_CHANGED, account.account_id, currency=currency, cause=cause,
            instrument=commands.NO_INSTRUMENT, amount_minor=amount, balance_minor=account.cash[currency],
            reference=reference,
        )  # fmt: skip
        s.check_level(account)
        self.detail = amount

    def set_state(self, _: int, payload: config.InstrumentState) -> None:
        s = self.state
        require(payload.name in s.slot_of, Reason.UNKNOWN_INSTRUMENT)
        slot = s.slot_of[payload.name]
        timed = payload.until_ns > 0 and payload.state == "auction"
        require(timed or payload.until_ns == 0, Reason.BAD_PAYLOAD)
        require(payload.state in ("open", "halted") or not s.contracts[slot].legs, Reason.BAD_PAYLOAD)
        if payload.state in ("open", "close_only"):
            reason = self.trading.cannot_open(slot)
            require(not reason, reason)
        self.trading.enter(slot, payload.state, payload.until_ns)
        self.detail = slot

    def block(self, _: int, payload: payloads.BlockTrade) -> None:
        try:
            self.detail = self.blocks.trade(payload)
        except Refused:
            self.detail = self.blocks.detail
            raise

    def protect(self, account_id: int, payload: payloads.Protection) -> None:
        reason, self.detail = self.quoting.set(account_id, payload)
        require(not reason, reason)

    def kill(self, _: int, payload: payloads.KillSwitch) -> None:
        self.detail = self.switches.throw(payload)

    def isolate(self, account_id: int, payload: config.SetMarginMode) -> None:
        self.detail = self.isolating.set_mode(account_id, payload)

    def collateral(self, account_id: int, payload: config.MoveCollateral) -> None:
        self.detail = self.isolating.move(account_id, payload)

    def set_self_trade(self, account_id: int, payload: config.SelfTrade) -> None:
        require(account_id in self.state.accounts, Reason.UNKNOWN_ACCOUNT)
        for account in (self.state.accounts[account_id], *self.isolating.buckets(account_id)):
            account.reject_taker = payload.mode == "reject_taker"
            account.own_account_only = not payload.extended_to_subaccounts

    def change_model(self, account_id: int, payload: config.ChangeMarginModel) -> None:
        """Only where the account meets its initial margin under the new model."""
        s = self.state
        require(account_id in s.accounts, Reason.UNKNOWN_ACCOUNT)
        account = s.accounts[account_id]
        require(not account.in_liquidation, Reason.ACCOUNT_IN_LIQUIDATION)
        before, account.model = account.model, payload.margin_model
        for entity in s.entities(account):
            m = s.model.margin(account, entity, True)
            if m.equity < m.initial:
                account.model = before
                self.detail = m.initial - m.equity
                raise Refused(Reason.NOT_ENOUGH_FUNDS)
        s.check_level(account)
