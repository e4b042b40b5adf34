"""The engine: apply(command) -> events. Synchronous, no clock, no randomness, no I/O.

Dispatch, the cold commands, and the views. Every command ends with the invariants of what it touched; a broken one
stops the engine for good.
"""

import hashlib

import msgspec
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp

from exchange import config as vocabulary
from exchange import config_checks, invariants, listing
from exchange.clearing.account cimport MODEL_CROSS, Accounts
from exchange.clearing.ledger cimport SYS_FUND, SYS_FUNDING, SYS_OUTSIDE, SYS_ROUNDING, Ledger
from exchange.clearing.position cimport Position, PositionList, Positions
from exchange.commands import CommandKind
from exchange.event_buffer cimport EventBuffer
from exchange.events import BalanceCause
from exchange.liquidation.stages import Liquidation
from exchange.liquidation.desk cimport Desk
from exchange.liquidation.monitor cimport Monitor
from exchange.market.book cimport Books
from exchange.market.instrument cimport (
    KIND_OPTION, KIND_PERPETUAL, STATE_OPEN, Instrument, Instruments,
)
from exchange.market.instrument import KINDS, STATES
from exchange.market.order cimport Order, OrderDetail, Orders
from exchange.reasons import Reason
from exchange.records cimport (
    CMD_CANCEL_ALL, CMD_CANCEL_ORDER, CMD_CHECKPOINT, CMD_EDIT_ORDER, CMD_FIRST_COLD, CMD_GRANT_FUND_LEASE,
    CMD_PLACE_BID, CMD_PLACE_ORDER, CMD_SETTLE_FUND_LEASE, CMD_TICK, CMD_UPDATE_MARKS, EV_ACCOUNT_CREATED,
    EV_BALANCE_CHANGED, EV_COMMAND_DONE, EV_COMMAND_REJECTED, EV_INSTRUMENT_LISTED, EV_INSTRUMENT_STATE_CHANGED,
    EV_MARKS_REJECTED, EV_MARKS_UPDATED, R_BAD_PAYLOAD, R_DAY_ENDED, SLOT_BYTES, TIF_GTD,
    TYPE_STOP_LIMIT, TYPE_TRAILING_STOP, AccountCreated, BalanceChanged, CancelAll,
    CancelOrder, Checkpoint, CommandEvent, EditOrder, GrantFundLease, Header, InstrumentEvent, MarksEvent, Payload,
    PlaceBid, PlaceOrder, SettleFundLease, TriggerTerms, UpdateMarks,
)
from exchange.risk.exposure cimport Exposure, ScenarioBook
from exchange.risk.marks cimport Marks
from exchange.risk.pretrade cimport Pretrade
from exchange.risk.risk_rows cimport MAX_EXPIRIES, RiskRows
from exchange.settlement import Settlement
from exchange.trading cimport Trading
from exchange.triggers cimport Triggers
from exchange import views

LOGIC_VERSION = 1
DAY_NS = 86_400_000_000_000
EIGHT_HOURS_NS = 28_800_000_000_000


class InvariantBroken(RuntimeError):
    """The engine has stopped: a command broke an invariant, or the journal is not what wrote it."""

    def __init__(self, seq, what):
        super().__init__(f"seq {seq}: {what}")
        self.seq = seq
        self.what = what


class CheckpointMismatch(InvariantBroken):
    """A journaled checkpoint was not reproduced."""


cdef class Engine:
    """The venue's state and its only transition function."""

    cdef readonly uint64_t seq
    cdef readonly int64_t time_ns
    cdef readonly object config
    cdef readonly str broken
    cdef readonly uint64_t checkpoints
    cdef readonly uint64_t orders_placed
    cdef readonly Accounts accounts
    cdef readonly Ledger ledger_room
    cdef readonly Instruments listing
    cdef readonly Orders orders_room
    cdef readonly Books books
    cdef readonly Positions positions_room
    cdef readonly RiskRows rows
    cdef readonly Exposure exposure
    cdef readonly Marks marks
    cdef readonly Monitor monitor
    cdef readonly Trading trading
    cdef readonly Triggers triggers
    cdef int64_t day_end_ns
    cdef readonly Desk desk
    cdef readonly object liquidation
    cdef readonly object settlement
    cdef EventBuffer events
    cdef Pretrade pretrade
    cdef list currency_names
    cdef list underlying_names

    def __init__(self):
        self.events = EventBuffer()

    # ------------------------------------------------------------------ apply

    def apply(self, record):
        """Apply one stamped record. Raises InvariantBroken; then the engine takes nothing more."""
        cdef Py_buffer view
        PyObject_GetBuffer(record, &view, PyBUF_SIMPLE)
        try:
            if view.len < SLOT_BYTES or view.len != (<Header*>view.buf).slots * SLOT_BYTES:
                raise self._break(f"record of {view.len} bytes is not whole")
            self._apply(<const char*>view.buf)
        finally:
            PyBuffer_Release(&view)

    def apply_many(self, records):
        """Apply a run of records (a journal batch), discarding events; returns how many."""
        cdef Py_buffer view
        cdef Py_ssize_t offset = 0, size
        cdef long count = 0
        PyObject_GetBuffer(records, &view, PyBUF_SIMPLE)
        try:
            while offset < view.len:
                size = (<Header*>(<char*>view.buf + offset)).slots * SLOT_BYTES
                if size == 0 or offset + size > view.len:
                    raise self._break("a record reaches past its batch")
                self._apply(<const char*>view.buf + offset)
                self.events.discard()
                offset += size
                count += 1
        finally:
            PyBuffer_Release(&view)
        return count

    def _break(self, what):
        self.broken = str(what)
        return InvariantBroken(self.seq, what)

    cdef int _apply(self, const char* data) except -1:
        cdef const Header* header = <const Header*>data
        if self.broken is not None:
            raise InvariantBroken(self.seq, f"stopped before: {self.broken}")
        if header.seq != self.seq + 1:
            raise self._break(f"expected seq {self.seq + 1}, got {header.seq}")
        self.seq = header.seq
        if header.time_ns < self.time_ns:
            raise self._break("time went backwards")
        if (self.config is None) != (header.kind == 32):
            raise self._break("genesis must be the first command, and only that")
        if self.config is not None and self.time_ns and (
                header.time_ns - self.time_ns > self.config.limits.max_time_step_ns and header.kind != CMD_TICK):
            raise self._break("time step is too large for anything but a Tick")
        self.time_ns = header.time_ns
        self.events.seq = header.seq
        self.events.time_ns = header.time_ns
        try:
            self._dispatch(data)
        except (CheckpointMismatch, InvariantBroken):
            raise
        except Exception as error:
            raise self._break(f"{type(error).__name__}: {error}") from error
        self._check_touched()
        return 0

    cdef int _check_touched(self) except -1:
        if not self.ledger_room.balanced():
            raise self._break("the ledger does not balance")
        if not self.positions_room.sound():
            raise self._break("positions do not net, or clearing does not carry realised P&L")
        if self.exposure.failed or self.trading.failed:
            raise self._break("an amount left its bounds")
        return 0

    cdef int _dispatch(self, const char* data) except -1:
        cdef const Header* header = <const Header*>data
        cdef int kind = header.kind
        cdef Py_ssize_t tail = (header.slots - 1) * SLOT_BYTES
        if kind == CMD_PLACE_ORDER:
            return self._place(<const PlaceOrder*>data, tail)
        if kind == CMD_CANCEL_ORDER:
            if self.triggers.by_id and self.triggers.owner_of((<const CancelOrder*>data).order_id) == header.account_id:
                return self.triggers.withdraw((<const CancelOrder*>data).order_id, (<const CancelOrder*>data).reason)
            return self.trading.cancel(<const CancelOrder*>data)
        if kind == CMD_EDIT_ORDER:
            if self.triggers.by_id and self.triggers.owner_of((<const EditOrder*>data).order_id) == header.account_id:
                return self.triggers.edit(<const EditOrder*>data)
            self.trading.edit(<const EditOrder*>data)
            self.triggers.on_trades()
            return 0
        if kind == CMD_CANCEL_ALL:
            if (<const CancelAll*>data).label_bytes > tail:
                return self._reject(header, R_BAD_PAYLOAD, 0)
            return self._cancel_all(<const CancelAll*>data, data + SLOT_BYTES)
        if kind == CMD_UPDATE_MARKS:
            return self._update_marks(<const UpdateMarks*>data)
        if kind == CMD_TICK:
            self.settlement.tick(self.time_ns)
            self._end_day()
            self.triggers.drain()
            self.triggers.on_trades()
            self.liquidation.tick(self.time_ns)
            return 0
        if kind == CMD_PLACE_BID:
            self._bid(<const PlaceBid*>data)
            return 0
        if kind == CMD_GRANT_FUND_LEASE:
            self._grant(<const GrantFundLease*>data)
            return 0
        if kind == CMD_SETTLE_FUND_LEASE:
            self._lease_settled(<const SettleFundLease*>data)
            return 0
        if kind == CMD_CHECKPOINT:
            return self._checkpoint(<const Checkpoint*>data)
        if kind >= CMD_FIRST_COLD:
            return self._cold(data)
        raise self._break(f"unknown command kind {kind}")

    cdef int _reject(self, const Header* header, int reason, int64_t detail) except -1:
        cdef CommandEvent* event = <CommandEvent*>self.events.emit(EV_COMMAND_REJECTED, 1, header.account_id)
        event.command_kind = header.kind
        event.reason = reason
        event.detail = detail
        return 0

    cdef int _done(self, const Header* header, int64_t detail) except -1:
        cdef CommandEvent* event = <CommandEvent*>self.events.emit(EV_COMMAND_DONE, 1, header.account_id)
        event.command_kind = header.kind
        event.detail = detail
        return 0

    cdef int _place(self, const PlaceOrder* command, Py_ssize_t tail) except -1:
        """An order at once, or one that waits for its trigger (a terms slot stands before the label)."""
        cdef const char* more = <const char*>command + SLOT_BYTES
        cdef bint waits = TYPE_STOP_LIMIT <= command.order_type <= TYPE_TRAILING_STOP
        if command.label_bytes > tail - (<int>sizeof(TriggerTerms) if waits else 0):
            return self._reject(&command.header, R_BAD_PAYLOAD, 0)
        self.orders_placed += 1
        if waits:
            return self.triggers.place(command, <const TriggerTerms*>more, more + sizeof(TriggerTerms))
        self.trading.place(command, more)
        if self.triggers.by_id:
            self.triggers.on_trades()
        return 0

    cdef int _cancel_all(self, const CancelAll* command, const char* label) except -1:
        """Live orders by the filters, then waiting ones, each ascending id; COMMAND_DONE counts both."""
        cdef Instrument* row
        cdef uint32_t count = 0
        wanted = label[:command.label_bytes]
        for trigger in self.triggers.of_account(command.header.account_id):
            row = &self.listing.at[<uint32_t>trigger.instrument]
            if ((command.instrument == 0xFFFFFFFF or command.instrument == <uint32_t>trigger.instrument)
                    and (command.currency == 0xFFFF or command.currency == row.currency)
                    and (command.instrument_kind == 0xFF or command.instrument_kind == row.kind)
                    and (command.order_type == 0xFF or command.order_type == <uint32_t>trigger.order_type)
                    and (not wanted or wanted == trigger.label)):
                self.triggers.withdraw(trigger.order_id, command.reason)
                count += 1
        return self.trading.cancel_all(command, label, count)

    cdef int64_t _next_day_end(self) noexcept:
        return self.time_ns + DAY_NS - (self.time_ns - EIGHT_HOURS_NS) % DAY_NS

    cdef int _end_day(self) except -1:
        """Good-til-day orders end at 08:00 UTC."""
        cdef uint32_t a, slot, following
        if self.time_ns < self.day_end_ns:
            return 0
        self.day_end_ns = self._next_day_end()
        self.triggers.end_of_day(R_DAY_ENDED)
        if self.trading.day_orders == 0:
            return 0
        self.trading.day_orders = 0
        for a in range(1, self.accounts.high):
            slot = self.orders_room.account_head[a]
            while slot:
                following = self.orders_room.at[slot].account_next
                if self.orders_room.at[slot].time_in_force == TIF_GTD:
                    self.trading.withdraw(slot, R_DAY_ENDED, True)
                slot = following
        return 0

    cdef int _update_marks(self, const UpdateMarks* command) except -1:
        cdef int reason = self.marks.update(command, self.time_ns)
        cdef MarksEvent* event = <MarksEvent*>self.events.emit(
            EV_MARKS_REJECTED if reason else EV_MARKS_UPDATED, 1, 0)
        event.underlying = command.underlying
        event.reason = reason
        event.index_price_e8 = command.index_price_e8
        event.detail = self.marks.detail
        if reason:
            return 0
        event.repriced = self.marks.priced
        event.revision = self.rows.revision[command.underlying]
        self.monitor.remargin(command.underlying)
        self.triggers.on_marks(command.underlying)
        self.triggers.on_trades()
        return 0

    def _cancel_orders(self, uint32_t account_id, int reason):
        """Cancel every open order of an account, ascending id (liquidation)."""
        cdef uint32_t slot = self.orders_room.account_head[account_id]
        cdef uint32_t following
        count = 0
        for trigger in self.triggers.of_account(account_id):
            self.triggers.withdraw(trigger.order_id, reason)
            count += 1
        while slot:
            following = self.orders_room.at[slot].account_next
            self.trading.withdraw(slot, reason, True)
            slot = following
            count += 1
        return count

    cdef int _bid(self, const PlaceBid* command) except -1:
        self.liquidation.bid(command.header.account_id, command.auction_id, command.phase, command.limit_minor,
                             command.share_ppm)
        return 0

    cdef int _grant(self, const GrantFundLease* command) except -1:
        reason = self.liquidation.grant(command.lease_id, command.amount_minor, bool(command.exhausted))
        if reason:
            return self._reject(&command.header, reason, command.lease_id)
        return 0

    cdef int _lease_settled(self, const SettleFundLease* command) except -1:
        reason = self.liquidation.lease_settled(command.lease_id, command.used_minor)
        if reason:
            return self._reject(&command.header, reason, command.lease_id)
        return 0

    cdef int _checkpoint(self, const Checkpoint* command) except -1:
        digest, count = self.events.chain()
        if memcmp(<const char*><bytes>digest, command.chain_sha256, 32) != 0 or count != command.event_count:
            self.broken = "checkpoint not reproduced"
            raise CheckpointMismatch(self.seq, f"checkpoint says {command.event_count} events, replay gave {count}, "
                                     "or their hashes differ")
        self.events.restart(digest)
        self.checkpoints += 1
        return 0

    # ------------------------------------------------------------------ cold commands

    cdef int _cold(self, const char* data) except -1:
        cdef const Payload* command = <const Payload*>data
        cdef uint64_t size = command.payload_bytes
        if size + sizeof(Payload) > <uint64_t>command.header.slots * SLOT_BYTES:
            return self._reject(&command.header, R_BAD_PAYLOAD, 0)
        body = (<const char*>data)[sizeof(Payload):sizeof(Payload) + size]
        try:
            kind = CommandKind(command.header.kind)
            if kind == CommandKind.GENESIS:
                return self._genesis(body)
            reason, detail = self._cold_dispatch(kind, command.header.account_id, body)
        except (msgspec.ValidationError, msgspec.DecodeError):
            if self.config is None:
                raise
            reason, detail = Reason.BAD_PAYLOAD, 0
        if reason:
            return self._reject(&command.header, reason, detail)
        return self._done(&command.header, detail)

    def _cold_dispatch(self, kind, uint32_t account_id, bytes body):
        """(reason, detail) of a cold command."""
        decode = msgspec.msgpack.decode
        if kind == CommandKind.LIST_INSTRUMENTS:
            return self._list(decode(body, type=vocabulary.ListInstruments).instruments)
        if kind == CommandKind.CREATE_ACCOUNT:
            return self._create_account(decode(body, type=vocabulary.CreateAccount))
        if kind == CommandKind.SET_INSTRUMENT_STATE:
            return self._set_state(decode(body, type=vocabulary.InstrumentState))
        if kind == CommandKind.SET_SELF_TRADE:
            return self._set_self_trade(account_id, decode(body, type=vocabulary.SelfTrade))
        if kind == CommandKind.CHANGE_MARGIN_MODEL:
            return self._change_model(account_id, decode(body, type=vocabulary.ChangeMarginModel).margin_model)
        if kind in (CommandKind.DEPOSIT, CommandKind.WITHDRAW, CommandKind.ENDOW_FUND, CommandKind.SWEEP_DUST):
            return self._transfer(kind, account_id, decode(body, type=vocabulary.Transfer))
        return Reason.BAD_PAYLOAD, 0

    def _genesis(self, bytes body):
        config = vocabulary.decode_config(body)
        faults = config_checks.faults(config)
        if faults:
            raise ValueError("; ".join(faults))
        self.config = config
        self.day_end_ns = self._next_day_end()
        self.currency_names = [currency.name for currency in config.currencies]
        self.underlying_names = [underlying.name for underlying in config.underlyings]
        limits = config.limits
        self.accounts = Accounts(limits.max_accounts)
        self.listing = Instruments(limits.max_instruments)
        self.orders_room = Orders(limits.max_open_orders)
        self.books = Books(self.orders_room, limits.max_instruments)
        self.ledger_room = Ledger(len(config.currencies), limits.max_instruments, limits.max_balance_minor)
        self.positions_room = Positions(self.listing, self.ledger_room)
        self.rows = RiskRows(self.listing, config)
        self.exposure = Exposure(self.accounts, self.ledger_room, self.listing, self.orders_room,
                                 self.positions_room, self.rows, config)
        self.marks = Marks(self.listing, self.books, self.positions_room, self.rows, config)
        self.pretrade = Pretrade(self.accounts, self.listing, self.orders_room, self.positions_room, self.exposure,
                                 config)
        self.monitor = Monitor(self.accounts, self.exposure, self.events, config)
        self.trading = Trading(self.accounts, self.listing, self.orders_room, self.books, self.positions_room,
                               self.exposure, self.pretrade, self.monitor, self.events)
        self.triggers = Triggers(self.listing, self.rows, self.pretrade, self.trading, self.events, config)
        self.settlement = Settlement(self.accounts, self.listing, self.orders_room, self.books, self.positions_room,
                                     self.exposure, self.marks, self.monitor, self.trading, self.triggers,
                                     self.events)
        self.desk = Desk(self.accounts, self.ledger_room, self.listing, self.positions_room, self.exposure,
                         self.marks, self.monitor, self.events, self._cancel_orders, config)
        self.liquidation = Liquidation(self.desk, config.liquidation)
        reason, _ = self._list(config.instruments)
        if reason:
            raise ValueError("the genesis configuration lists an instrument that cannot be")
        return 0

    def _list(self, specs):
        """List instruments, all or none."""
        reason = listing.refusal(self, specs)
        if reason:
            return reason, 0
        chains = set()
        for spec in specs:
            chains.add(self._list_one(spec))
        for chain in sorted(chains):
            self.rows.rebuild_pairs(chain)
        return Reason.NONE, len(specs)

    def _list_one(self, spec):
        cdef InstrumentEvent* event
        underlying = self.underlying_names.index(spec.underlying)
        currency = self.currency_names.index(spec.settlement)
        chain = self.rows.add_chain(underlying, currency)
        bucket = self.rows.take_bucket(underlying, spec.expiry_ns)
        slot = self.listing.list_instrument(
            spec, underlying, currency, chain, bucket, self.config.currencies[currency].exponent, self.time_ns)
        self.books.open_book(slot, spec.max_price_units)
        self.rows.listed(slot)
        event = <InstrumentEvent*>self.events.emit(EV_INSTRUMENT_LISTED, 1, 0)
        event.instrument = slot
        event.state = STATE_OPEN
        event.instrument_id = self.listing.at[<uint32_t>slot].instrument_id
        return chain

    def _create_account(self, payload):
        cdef AccountCreated* event
        cdef uint32_t account_id
        if self.accounts.id_of(payload.name):
            return Reason.ACCOUNT_EXISTS, self.accounts.id_of(payload.name)
        account_id = self.accounts.create(payload.name, payload.owner_id, payload.margin_model)
        if account_id == 0:
            return Reason.LIMIT_REACHED, 0
        self.orders_room.grow_accounts(account_id)
        self.ledger_room.grow(account_id)
        self.positions_room.grow(account_id)
        self.exposure.grow(account_id)
        event = <AccountCreated*>self.events.emit(EV_ACCOUNT_CREATED, 1, account_id)
        event.owner_id = self.accounts.at[account_id].owner_id
        event.margin_model = self.accounts.at[account_id].model
        return Reason.NONE, account_id

    def _set_state(self, payload):
        cdef InstrumentEvent* event
        cdef Instrument* row
        slot = self.listing.slot(payload.name)
        if slot < 0:
            return Reason.UNKNOWN_INSTRUMENT, 0
        row = &self.listing.at[<uint32_t>slot]
        event = <InstrumentEvent*>self.events.emit(EV_INSTRUMENT_STATE_CHANGED, 1, 0)
        event.instrument = slot
        event.previous_state = row.state
        row.state = STATES.index(payload.state)
        event.state = row.state
        event.instrument_id = row.instrument_id
        return Reason.NONE, slot

    def _set_self_trade(self, uint32_t account_id, payload):
        if not self.accounts.exists(account_id):
            return Reason.UNKNOWN_ACCOUNT, 0
        self.accounts.at[account_id].reject_taker = payload.mode == "reject_taker"
        self.accounts.at[account_id].own_account_only = not payload.extended_to_subaccounts
        return Reason.NONE, 0

    def _change_model(self, uint32_t account_id, str model):
        """Switch the margin model where the account meets its initial margin under the new one."""
        cdef int before
        if not self.accounts.exists(account_id):
            return Reason.UNKNOWN_ACCOUNT, 0
        if self.accounts.at[account_id].in_liquidation:
            return Reason.ACCOUNT_IN_LIQUIDATION, 0
        before = self.accounts.at[account_id].model
        self.accounts.at[account_id].model = vocabulary.MARGIN_MODELS.index(model)
        self._rebuild(account_id)
        entities = 1 if self.accounts.at[account_id].model == MODEL_CROSS else len(self.currency_names)
        for entity in range(entities):
            equity, initial, _ = self.exposure.margins(account_id, entity)
            if equity < initial:
                self.accounts.at[account_id].model = before
                self._rebuild(account_id)
                return Reason.NOT_ENOUGH_FUNDS, initial - equity
        self.monitor.check(account_id)
        return Reason.NONE, 0

    cdef int _rebuild(self, uint32_t account_id) except -1:
        cdef int k
        cdef ScenarioBook* book
        for k in range(self.rows.chain_count):
            book = self.exposure.book(account_id, k)
            if book != NULL:
                self.exposure.rebuild(account_id, k)
                book.orders_revision = 0
                self.exposure.refresh_orders(account_id, k)
        return 0

    def _transfer(self, kind, uint32_t account_id, payload):
        """DEPOSIT, WITHDRAW, ENDOW_FUND, SWEEP_DUST."""
        currency = self.currency_index(payload.currency)
        amount = payload.amount_minor
        if currency < 0:
            return Reason.UNKNOWN_CURRENCY, 0
        if kind == CommandKind.SWEEP_DUST:
            self._settle_all_funding(currency)
            amount = self.ledger_room.system_of(SYS_ROUNDING, currency)
            self.ledger_room.move_system(SYS_ROUNDING, SYS_FUND, currency, amount)
            self._balance(0, currency, BalanceCause.DUST_SWEEP, amount,
                          self.ledger_room.system_of(SYS_FUND, currency), payload.reference)
            return Reason.NONE, amount
        if amount <= 0:
            return Reason.AMOUNT_NOT_POSITIVE, 0
        if amount > self.config.limits.max_balance_minor // 2:
            return Reason.AMOUNT_TOO_LARGE, 0
        if kind == CommandKind.ENDOW_FUND:
            if self.ledger_room.system_of(SYS_FUND, currency) + amount > self.config.limits.max_balance_minor:
                return Reason.AMOUNT_TOO_LARGE, 0
            self.ledger_room.move_system(SYS_OUTSIDE, SYS_FUND, currency, amount)
            self._balance(0, currency, BalanceCause.FUND_ENDOWMENT, amount,
                          self.ledger_room.system_of(SYS_FUND, currency), payload.reference)
            return Reason.NONE, amount
        if not self.accounts.exists(account_id):
            return Reason.UNKNOWN_ACCOUNT, 0
        if kind == CommandKind.DEPOSIT:
            if self.ledger_room.cash_of(account_id, currency) + amount > self.config.limits.max_balance_minor // 2:
                return Reason.AMOUNT_TOO_LARGE, 0
            cause = BalanceCause.DEPOSIT
        else:
            if self.accounts.at[account_id].in_liquidation:
                return Reason.ACCOUNT_IN_LIQUIDATION, 0
            if amount > self.ledger_room.cash_of(account_id, currency) or not self.desk.stands_without(
                    account_id, currency, amount):
                return Reason.INSUFFICIENT_WITHDRAWABLE, self._withdrawable(account_id, currency)
            cause = BalanceCause.WITHDRAWAL
            amount = -amount
        self.ledger_room.transfer_system(SYS_OUTSIDE, account_id, currency, amount)
        self._balance(account_id, currency, cause, amount, self.ledger_room.cash_of(account_id, currency),
                      payload.reference)
        self.monitor.check(account_id)
        return Reason.NONE, amount

    def _settle_all_funding(self, int currency):
        """Bring all accrued funding into cash; what payers paid up and receivers did not get is dust."""
        cdef uint32_t a, i
        cdef Position* p
        cdef ScenarioBook* book
        for a in range(1, self.accounts.high):
            for i in range(self.positions_room.of[a].count):
                p = &self.positions_room.of[a].at[i]
                if self.listing.at[p.instrument].kind == KIND_PERPETUAL and (
                        self.listing.at[p.instrument].currency == currency):
                    book = self.exposure.book(a, p.chain)
                    book.value_minor -= self.positions_room.settle_funding(a, p)
        self.ledger_room.move_system(SYS_FUNDING, SYS_ROUNDING, currency,
                                     self.ledger_room.system_of(SYS_FUNDING, currency))

    def _balance(self, uint32_t account_id, int currency, cause, int64_t amount, int64_t balance, reference):
        cdef BalanceChanged* event = <BalanceChanged*>self.events.emit(EV_BALANCE_CHANGED, 1, account_id)
        event.currency = currency
        event.cause = cause
        event.instrument = 0xFFFFFFFF
        event.amount_minor = amount
        event.balance_minor = balance
        event.reference = reference

    def _withdrawable(self, uint32_t account_id, int currency):
        """Cash that may leave: no more than is there, and the rest still meets initial margin with open orders.

        In a cross account cash is also a hedge, so the requirement moves with it: searched for, to a millionth below.
        """
        cash = self.ledger_room.cash_of(account_id, currency)
        if not self.exposure.is_cross(account_id):
            equity, initial, _ = self.exposure.margins(account_id, currency)
            return max(0, min(equity - initial, cash))
        if cash <= 0 or not self.desk.stands_without(account_id, currency, 0):
            return 0
        low, high = 0, cash + 1
        if self.desk.stands_without(account_id, currency, cash):
            return cash
        while high - low > 1 + (cash >> 20):
            middle = (low + high) // 2
            if self.desk.stands_without(account_id, currency, middle):
                low = middle
            else:
                high = middle
        return low

    # ------------------------------------------------------------------ output

    def take_events(self):
        """Events since the last call, as bytes of 64-byte slots."""
        return self.events.take()

    def event_chain(self):
        """(SHA-256 of the events since the last checkpoint, chained to it; events in all)."""
        return self.events.chain()

    @property
    def revision(self):
        """Increases with every command."""
        return self.seq

    @property
    def listing_revision(self):
        """Increases when an instrument is listed or archived."""
        return self.listing.revision

    def export(self):
        """Canonical state as nested lists of integers and strings."""
        slots = self.listing.slots()
        return [
            self.seq, self.time_ns, self.checkpoints, self.orders_placed,
            self.trading.next_order_id, self.trading.next_trade_id,
            self.accounts.export(),
            self.ledger_room.export(self.accounts.high, slots),
            self.positions_room.export(self.accounts.high),
            self.listing.export(),
            self.rows.export(),
            self.marks.export(),
            [[slot, self.books.at[<uint32_t>slot].change_id, self.books.queue(slot, 0), self.books.queue(slot, 1)]
             for slot in slots],
            [vocabulary.encode(self.listing.spec(slot)) for slot in slots],
            [self._order_export(self.orders_room.find(order_id))
             for slot in slots for side in range(2) for order_id in self.books.queue(slot, side)],
            self.monitor.export(),
            self.triggers.export(),
            self.day_end_ns,
            self.liquidation.export(),
        ]

    cdef _order_export(self, uint32_t slot):
        cdef Order* order = &self.orders_room.at[slot]
        cdef OrderDetail* detail = &self.orders_room.detail[slot]
        return [
            order.order_id, order.account_id, order.instrument, order.owner_id, order.side, order.order_type,
            order.time_in_force, order.flags, order.key_id, order.price_units, order.remaining_lots,
            detail.quantity_lots, detail.filled_cost_minor, detail.created_ns, detail.updated_ns,
            detail.label[:detail.label_bytes],
        ]

    def state_digest(self):
        """SHA-256 of the canonical state."""
        return hashlib.sha256(msgspec.msgpack.encode([vocabulary.encode(self.config), self.export()])).digest()

    def audit(self):
        """Every invariant in full; [] when sound, else what is wrong."""
        return invariants.audit(self)

    def counters(self):
        return views.Counters(
            commands=self.seq, orders=self.orders_placed, trades=self.trading.next_trade_id - 1,
            events=self.events.count, accounts=self.accounts.high - 1, open_orders=self.orders_room.live,
            instruments=self.listing.live, below_maintenance=self.monitor.below_maintenance,
            auctions_open=len(self.liquidation.auctions), auctions_closed=self.liquidation.auctions_closed,
            liquidations=self.liquidation.liquidations,
        )

    # ------------------------------------------------------------------ instruments

    def currency_index(self, str name):
        """Index of a currency, -1 when unknown."""
        return self.currency_names.index(name) if name in self.currency_names else -1

    def underlying_index(self, str name):
        """Index of an underlying, -1 when unknown."""
        return self.underlying_names.index(name) if name in self.underlying_names else -1

    def instrument_slot(self, str name):
        """Slot of an instrument, -1 when unknown."""
        return self.listing.slot(name)

    def instruments(self):
        """Slots of live instruments, ascending instrument_id."""
        return self.listing.slots()

    def instrument(self, uint32_t slot):
        cdef Instrument* row = &self.listing.at[slot]
        cdef int i
        return views.InstrumentView(
            instrument=slot, instrument_id=row.instrument_id, name=self.listing.name(slot), kind=KINDS[row.kind],
            underlying=self.underlying_names[row.underlying], settlement=self.currency_names[row.currency],
            inverse=bool(row.inverse), option_type=(None, "call", "put")[row.option_type], strike_e8=row.strike_e8,
            expiry_ns=row.expiry_ns, created_ns=row.created_ns, price_unit_e8=row.price_unit_e8,
            lot_size_e8=row.lot_size_e8,
            tick_steps=tuple([(row.tick_above[i], row.tick_units[i]) for i in range(row.tick_count)]),
            min_quantity_lots=row.min_quantity_lots, max_quantity_lots=row.max_quantity_lots,
            max_price_units=row.max_price_units, maker_ppm=row.maker_ppm, taker_ppm=row.taker_ppm,
        )

    def market(self, uint32_t slot):
        cdef Instrument* row = &self.listing.at[slot]
        cdef int64_t bid = self.books.at[slot].side[0].best
        cdef int64_t ask = self.books.at[slot].side[1].best
        index = self.rows.index_e8[row.underlying]
        forward = index if row.kind == KIND_PERPETUAL else self.rows.forward_e8[
            row.underlying * MAX_EXPIRIES + row.expiry_bucket]
        return views.MarketView(
            state=STATES[row.state], change_id=self.books.at[slot].change_id, mark_price_e8=row.mark_price_e8,
            mark_vol_e6=self.rows.vol_e6[slot], index_price_e8=index, forward_e8=forward,
            best_bid_units=bid if bid >= 0 else None,
            best_bid_lots=self.books.level_lots(slot, 0, bid) if bid >= 0 else 0,
            best_ask_units=ask if ask >= 0 else None,
            best_ask_lots=self.books.level_lots(slot, 1, ask) if ask >= 0 else 0,
            last_price_units=row.last_price_units if row.trade_seq else None,
            min_price_units=self.pretrade.lowest(row) if row.marked else 0,
            max_price_units=self.pretrade.highest(row) if row.marked else 0,
            open_interest_lots=row.open_interest_lots, volume_lots=row.volume_lots,
            turnover_minor=row.turnover_minor, trade_seq=row.trade_seq,
            funding_rate_e12=self.marks.funding_rate(slot), settlement_price_e8=row.settlement_price_e8,
        )

    def greeks(self, uint32_t slot):
        return self.rows.greeks(slot, self.time_ns)

    def depth(self, uint32_t slot, int levels):
        return self.books.depth(slot, levels)

    def level_lots(self, uint32_t slot, int side, int64_t price_units):
        return self.books.level_lots(slot, side, price_units)

    def change_id(self, uint32_t slot):
        return self.books.at[slot].change_id

    def pairs(self, int underlying):
        return self.rows.pairs(underlying)

    def forwards(self, int underlying):
        return self.rows.forwards(underlying)

    def index_price(self, int underlying):
        return self.rows.index_e8[underlying]

    def marks_fresh(self, int underlying):
        return self.marks.is_fresh(underlying, self.time_ns)

    # ------------------------------------------------------------------ orders and accounts

    cdef _order_view(self, uint32_t slot):
        cdef Order* order = &self.orders_room.at[slot]
        cdef OrderDetail* detail = &self.orders_room.detail[slot]
        return views.OrderView(
            order_id=order.order_id, account_id=order.account_id, instrument=order.instrument, side=order.side,
            order_type=order.order_type, time_in_force=order.time_in_force, flags=order.flags,
            price_units=order.price_units, quantity_lots=detail.quantity_lots, remaining_lots=order.remaining_lots,
            filled_cost_minor=detail.filled_cost_minor, created_ns=detail.created_ns, updated_ns=detail.updated_ns,
            label=detail.label[:detail.label_bytes].decode("utf-8", "replace"),
        )

    def order(self, uint64_t order_id):
        """A live order, None otherwise."""
        cdef uint32_t slot = self.orders_room.find(order_id)
        return self._order_view(slot) if slot else None

    def open_orders(self, uint32_t account_id, int64_t instrument=-1):
        """Live orders of an account, ascending id, of one instrument slot where given."""
        if not self.accounts.exists(account_id):
            return []
        cdef uint32_t slot = self.orders_room.account_head[account_id]
        out = []
        while slot:
            if instrument < 0 or self.orders_room.at[slot].instrument == instrument:
                out.append(self._order_view(slot))
            slot = self.orders_room.at[slot].account_next
        return out

    def trigger_order(self, uint64_t order_id):
        """A waiting order, None otherwise."""
        return self.triggers.find(order_id)

    def trigger_orders(self, uint32_t account_id, int64_t instrument=-1):
        """Waiting orders of an account, ascending id, of one instrument slot where given."""
        return self.triggers.views(account_id, instrument)

    def self_trade(self, uint32_t account_id):
        """(mode, extended_to_subaccounts) of an account's self-trade prevention."""
        a = &self.accounts.at[account_id]
        return ("reject_taker" if a.reject_taker else "cancel_maker", not a.own_account_only)

    def account_id(self, str name):
        return self.accounts.id_of(name)

    def account_ids(self):
        return list(range(1, self.accounts.high))

    def positions(self, uint32_t account_id):
        """Entries with lots or open orders, ascending slot."""
        cdef PositionList* held
        cdef uint32_t i
        cdef Position* p
        out = []
        if not self.accounts.exists(account_id):
            return out
        held = &self.positions_room.of[account_id]
        for i in range(held.count):
            p = &held.at[i]
            out.append(views.PositionView(
                account_id=account_id, instrument=p.instrument, quantity_lots=p.quantity_lots,
                cost_minor=p.cost_minor,
                mark_value_minor=p.quantity_lots * self.listing.at[p.instrument].mark_minor,
                realised_minor=p.realised_minor, funding_accrued_minor=self.positions_room.accrued(p),
                funding_realised_minor=p.funding_realised_minor, open_buy_lots=p.open_buy_lots,
                open_sell_lots=p.open_sell_lots,
            ))
        return out

    cdef bint _has_price(self, int currency) noexcept:
        cdef int u = self.exposure.currency_underlying[currency]
        return u < 0 or self.rows.index_e8[u] != 0

    def _currency_view(self, uint32_t account_id, int currency):
        cdef PositionList* held = &self.positions_room.of[account_id]
        cdef Position* p
        cdef uint32_t i
        cdef bint cross = self.accounts.at[account_id].model == MODEL_CROSS
        cash = self.ledger_room.cash_of(account_id, currency)
        futures = options = 0
        for i in range(held.count):
            p = &held.at[i]
            if self.listing.at[p.instrument].currency != currency or p.quantity_lots == 0:
                continue
            if self.listing.at[p.instrument].kind == KIND_OPTION:
                options += self.positions_room.value_minor(p)
            else:
                futures += self.positions_room.value_minor(p)
        equity, initial, maintenance = self.exposure.margins(account_id, 0 if cross else currency)
        _, alone, _ = self.exposure.margins(account_id, 0 if cross else currency, False)
        available = equity - initial
        if cross:
            initial, maintenance, alone, available = (
                self.desk.to_currency(currency, x) if self._has_price(currency) else 0
                for x in (initial, maintenance, alone, available)
            )
        return views.CurrencyView(
            currency=self.currency_names[currency], cash_minor=cash, equity_minor=cash + futures + options,
            futures_unrealised_minor=futures, options_value_minor=options, initial_margin_minor=initial,
            maintenance_margin_minor=maintenance, position_initial_margin_minor=alone, available_minor=available,
            withdrawable_minor=self._withdrawable_view(account_id, currency),
        )

    def _withdrawable_view(self, uint32_t account_id, int currency):
        cdef int u = self.exposure.currency_underlying[currency]
        if self.accounts.at[account_id].in_liquidation or (u >= 0 and self.rows.index_e8[u] == 0):
            return 0
        return self._withdrawable(account_id, currency)

    def account(self, uint32_t account_id):
        """The account at current marks; KeyError when there is none."""
        if not self.accounts.exists(account_id):
            raise KeyError(account_id)
        cdef bint cross = self.accounts.at[account_id].model == MODEL_CROSS
        currencies = tuple([self._currency_view(account_id, c) for c in range(len(self.currency_names))])
        if cross:
            equity, initial, maintenance = self.exposure.margins(account_id, 0)
        else:
            equity = initial = maintenance = 0
            for c, view in enumerate(currencies):
                equity += self.exposure.usd_of(c, view.equity_minor)
                initial += self.exposure.usd_of(c, view.initial_margin_minor)
                maintenance += self.exposure.usd_of(c, view.maintenance_margin_minor)
        return views.AccountView(
            account_id=account_id, owner_id=self.accounts.owner(account_id), name=self.accounts.name(account_id),
            margin_model=self.accounts.model(account_id), level=self.accounts.at[account_id].level,
            in_liquidation=bool(self.accounts.at[account_id].in_liquidation),
            liquidation_reason=self.accounts.at[account_id].liquidation_reason,
            open_orders=self.orders_room.account_count[account_id], currencies=currencies, equity_usd_e4=equity,
            initial_margin_usd_e4=initial, maintenance_margin_usd_e4=maintenance,
        )

    def ledger(self, str currency):
        """Clearing accounts of a currency, with the sums over instruments and accounts; they add up to zero."""
        index = self.currency_index(currency)
        if index < 0:
            raise KeyError(currency)
        slots = [s for s in self.listing.slots() if self.listing.at[<uint32_t>s].currency == index]
        return self.ledger_room.sums(index, slots)

    def auctions(self):
        return self.liquidation.views()

    def leases(self):
        return self.liquidation.lease_views()
