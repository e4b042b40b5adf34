"""The engine: apply(command) -> events. Synchronous, no clock, no randomness, no I/O.

Dispatch of records to the rooms. Every command ends with the invariants of what it touched; a broken one stops the
engine for good.
"""

import msgspec
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp

from exchange import commands
from exchange.administration cimport Administration
from exchange.commands import CommandKind
from exchange.market.instrument cimport Instrument
from exchange.payloads import PlaceLinked
from exchange.reasons import Reason
from exchange.records cimport (
    CMD_CANCEL_ALL, CMD_CANCEL_ORDER, CMD_CANCEL_QUOTES, CMD_CHECKPOINT, CMD_EDIT_ORDER, CMD_FIRST_COLD,
    CMD_GRANT_FUND_LEASE, CMD_MASS_QUOTE, CMD_PLACE_BID, CMD_PLACE_ORDER, CMD_SETTLE_FUND_LEASE, CMD_TICK,
    CMD_UPDATE_MARKS, EV_COMMAND_DONE, EV_COMMAND_REJECTED, EV_MARKS_REJECTED, EV_MARKS_UPDATED, R_BAD_LINK,
    R_BAD_PAYLOAD, R_DAY_ENDED, R_MARK_OVERRIDDEN, R_UNKNOWN_ACCOUNT, SLOT_BYTES, TIF_GTD, TYPE_STOP_LIMIT,
    TYPE_TRAILING_STOP, CancelAll,
    CancelOrder, CancelQuotes, Checkpoint, CommandEvent, EditOrder, GrantFundLease, Header, MarksEvent, MassQuote,
    Payload, PlaceBid, PlaceOrder, SettleFundLease, OrderTerms, UpdateMarks,
)
from exchange.what_if import WhatIf

LOGIC_VERSION = 1


class InvariantBroken(RuntimeError):
    """The engine has stopped: a command broke an invariant, or the journal is not what wrote it."""

    def __init__(self, seq, what):
        super().__init__(f"seq {seq}: {what}")
        self.seq = seq
        self.what = what


class CheckpointMismatch(InvariantBroken):
    """A journaled checkpoint was not reproduced."""


cdef class Engine(Administration):
    """The venue's state and its only transition function."""

    @property
    def what_if(self):
        """Questions that suppose something: exchange.what_if.WhatIf."""
        return WhatIf(self)

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
        if self.config is not None:
            self.links.begin()
        try:
            # a checkpoint tells of the events before it: what time has brought comes with the next command
            if self.config is not None and header.kind != CMD_CHECKPOINT:
                self._pass_time(header.time_ns)
            self._dispatch(data)
            if self.positions_room.shrank_count:
                self.trading.cut_reducing()
            if self.trading.noted or self.links.heard or header.kind == CMD_TICK:
                self._follow_links()
                if self.positions_room.shrank_count:
                    self.trading.cut_reducing()
            if self.config is not None and self.collateral.noted:
                self.buckets.end_command()
        except (CheckpointMismatch, InvariantBroken):
            raise
        except Exception as error:
            raise self._break(f"{type(error).__name__}: {error}") from error
        self._check_touched()
        return 0

    cdef int _pass_time(self, int64_t time_ns) except -1:
        """What is due by time alone."""
        if time_ns >= self.stages.next_ns or time_ns >= self.jumps.next_ns:
            self.overrides.advance()
            self.stages.advance(time_ns)
            self.jumps.advance(time_ns)
        return 0

    cdef int _follow_links(self) except -1:
        """What follows for linked orders, for what that fires, and for linked orders once more."""
        if self.links.work():
            self.triggers.on_trades()
            self.links.work()
        return 0

    cdef int _check_touched(self) except -1:
        if not self.ledger_room.balanced():
            raise self._break("the ledger does not balance")
        if not self.positions_room.sound():
            raise self._break("positions do not net, or clearing does not carry realised P&L")
        if self.exposure.failed or self.exposure.formulas.failed or self.trading.failed:
            raise self._break("an amount left its bounds")
        return 0

    cdef int _dispatch(self, const char* data) except -1:
        cdef const Header* header = <const Header*>data
        cdef int kind = header.kind
        cdef Py_ssize_t tail = (header.slots - 1) * SLOT_BYTES
        if self.config is not None and self.accounts.bucket_count:
            if self.accounts.is_bucket(header.account_id):
                return self._reject(header, R_UNKNOWN_ACCOUNT, 0)
            routed = self._routed(header, data)
            if routed is not None:       # the same command, of the bucket's account
                data = <const char*>(<bytes>routed)
                header = <const Header*>data
        if kind == CMD_PLACE_ORDER:
            return self._place(<const PlaceOrder*>data, tail)
        if kind == CMD_CANCEL_ORDER:
            if self.triggers.by_id and self.triggers.owner_of((<const CancelOrder*>data).order_id) == header.account_id:
                return self.triggers.withdraw((<const CancelOrder*>data).order_id, (<const CancelOrder*>data).reason)
            return self.trading.cancel(<const CancelOrder*>data)
        if kind == CMD_EDIT_ORDER:
            return self._edit(<const EditOrder*>data, tail)
        if kind == CMD_CANCEL_ALL:
            if (<const CancelAll*>data).label_bytes > tail:
                return self._reject(header, R_BAD_PAYLOAD, 0)
            return self._cancel_all(<const CancelAll*>data, data + SLOT_BYTES)
        if kind == CMD_MASS_QUOTE:
            self.quotes.mass_quote(<const MassQuote*>data, tail)
            self.triggers.on_trades()
            return 0
        if kind == CMD_CANCEL_QUOTES:
            return self.quotes.cancel_quotes(<const CancelQuotes*>data, data + SLOT_BYTES, tail)
        if kind == CMD_UPDATE_MARKS:
            return self._update_marks(<const UpdateMarks*>data)
        if kind == CMD_TICK:
            self.settlement.tick(self.time_ns)
            self._end_day()
            self.kill_switch.tick()
            self.advanced.tick(self.time_ns)
            self.uncross.tick()
            self.triggers.drain()
            self.triggers.on_trades()
            self.debts.tick(self.time_ns)
            self.offers.tick()
            self.liquidation.tick(self.time_ns)
            for underlying in self.margin_plan.tick():
                self.monitor.remargin(underlying)
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
            if not self._cold(data):
                self.triggers.on_trades()
            return 0
        raise self._break(f"unknown command kind {kind}")

    cdef bytes _routed(self, const Header* header, const char* data):
        """An order's command as the account's bucket gives it; None where no bucket is meant."""
        cdef uint32_t bucket = 0
        cdef uint32_t slot
        if header.account_id >= self.accounts.high or self.accounts.at[header.account_id].first_bucket == 0:
            return None
        if header.kind == CMD_PLACE_ORDER:
            bucket = self.accounts.bucket_of(header.account_id, (<const PlaceOrder*>data).instrument)
        elif header.kind == CMD_CANCEL_ORDER or header.kind == CMD_EDIT_ORDER:
            # both begin with the order's id
            slot = self.orders_room.find((<const CancelOrder*>data).order_id)
            if slot:
                bucket = self.orders_room.at[slot].account_id
            else:
                bucket = max(0, self.triggers.owner_of((<const CancelOrder*>data).order_id))
            if self.accounts.at[bucket].holder != header.account_id:
                return None
        if bucket == 0:
            return None
        whole = bytearray(data[:header.slots * SLOT_BYTES])
        (<Header*><char*>whole).account_id = bucket
        return bytes(whole)

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
        """An order at once, or one that waits for its trigger; a slot of terms may stand before the label."""
        cdef const char* label = <const char*>command + SLOT_BYTES
        cdef const OrderTerms* terms = NULL
        cdef bint waits = TYPE_STOP_LIMIT <= command.order_type <= TYPE_TRAILING_STOP
        if command.terms_slots:
            terms = <const OrderTerms*>label
            label += sizeof(OrderTerms)
            tail -= sizeof(OrderTerms)
        if command.label_bytes > tail or command.terms_slots > 1 or (waits and terms == NULL):
            return self._reject(&command.header, R_BAD_PAYLOAD, 0)
        self.orders_placed += 1
        if waits:
            return self.triggers.place(command, terms, label)
        self.trading.place(command, terms, label)
        if self.triggers.by_id:
            self.triggers.on_trades()
        return 0

    cdef int _edit(self, const EditOrder* command, Py_ssize_t tail) except -1:
        """An order in the book or one that waits; a slot of terms may follow."""
        cdef const OrderTerms* terms = NULL
        if command.terms_slots:
            if command.terms_slots > 1 or tail < <Py_ssize_t>sizeof(OrderTerms):
                return self._reject(&command.header, R_BAD_PAYLOAD, 0)
            terms = <const OrderTerms*>(<const char*>command + SLOT_BYTES)
        if self.triggers.by_id and self.triggers.owner_of(command.order_id) == command.header.account_id:
            return self.triggers.edit(command, terms)
        self.trading.edit(command, terms)
        self.triggers.on_trades()
        return 0

    cdef int _cancel_all(self, const CancelAll* command, const char* label) except -1:
        """Orders by the filters, of the account's buckets first: waiting ones, then live ones, each ascending id.

        COMMAND_DONE counts all."""
        cdef uint32_t count = 0
        cdef uint32_t bucket
        if self.accounts.exists(command.header.account_id):
            for bucket in self.accounts.buckets(command.header.account_id):
                count += self._cancel_waiting(bucket, command, label)
                count += self.trading.cancel_matching(bucket, command, label)
        count += self._cancel_waiting(command.header.account_id, command, label)
        return self.trading.cancel_all(command, label, count)

    cdef uint32_t _cancel_waiting(self, uint32_t account_id, const CancelAll* command, const char* label) except? 0:
        """Cancel an account's waiting orders that match a command's filters; how many."""
        cdef Instrument* row
        cdef uint32_t count = 0
        wanted = label[:command.label_bytes]
        for trigger in self.triggers.of_account(account_id):
            row = &self.listing.at[<uint32_t>trigger.instrument]
            if ((command.instrument == 0xFFFFFFFF or command.instrument == <uint32_t>trigger.instrument)
                    and (command.currency == 0xFFFF or command.currency == row.currency)
                    and (command.instrument_kind == 0xFF or command.instrument_kind == row.kind)
                    and (command.order_type == 0xFF or command.order_type == <uint32_t>trigger.order_type)
                    and (not wanted or wanted == trigger.label)):
                self.triggers.withdraw(trigger.order_id, command.reason)
                count += 1
        return count

    cdef int _end_day(self) except -1:
        """Good-til-day orders end at 08:00 UTC."""
        cdef uint32_t a, slot, following
        if self.time_ns < self.day_end_ns:
            return 0
        self.day_end_ns = self.next_day_end()
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

    def set_index(self, int underlying, index):
        """An operator's index, with the forwards moved in proportion; vols stay. The marks grow no younger by it."""
        previous = int(self.rows.index_e8[underlying])
        forwards = [(expiry_ns, min(max(forward * index // previous, 1), 10**17))
                    for expiry_ns, forward in sorted(self.rows.forwards(underlying).items())]
        record = bytes(commands.update_marks(underlying, index, self.time_ns, forwards, []))
        self.jumps.dictate(underlying, index, previous)
        self._take_marks(<const UpdateMarks*><const char*>record, True)

    cdef int _update_marks(self, const UpdateMarks* command) except -1:
        return self._take_marks(command, False)

    cdef int _take_marks(self, const UpdateMarks* command, bint by_hand) except -1:
        cdef bint refused = not by_hand and command.underlying < self.stages.underlyings and (
            self.jumps.fixed[command.underlying])
        cdef int reason = R_MARK_OVERRIDDEN if refused else self.marks.update(command, self.time_ns)
        cdef MarksEvent* event = <MarksEvent*>self.events.emit(
            EV_MARKS_REJECTED if reason else EV_MARKS_UPDATED, 1, 0)
        cdef int64_t until_ns
        event.underlying = command.underlying
        event.reason = reason
        event.index_price_e8 = command.index_price_e8
        event.detail = 0 if refused else self.marks.detail
        if reason:
            return 0
        event.repriced = self.marks.priced
        event.revision = self.rows.revision[command.underlying]
        self.market_size.note(command.underlying)
        if not by_hand:
            self.stages.marked(command.underlying, self.time_ns)
        until_ns = self.jumps.trips(command.underlying, int(command.index_price_e8))
        if until_ns:
            self.uncross.pause(command.underlying, until_ns)
        self.monitor.remargin(command.underlying)
        self.advanced.on_marks(command.underlying)
        self.triggers.on_marks(command.underlying)
        self.triggers.on_trades()
        return 0

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
        trades = 0 if self.config is None else self.trading.next_trade_id
        try:
            kind = CommandKind(command.header.kind)
            if kind == CommandKind.GENESIS:
                self.genesis(body)
                return 0
            if kind == CommandKind.PLACE_LINKED:
                self._place_linked(&command.header, body)
                return 1
            reason, detail = self.administer(kind, command.header.account_id, body)
        except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError):
            if self.config is None:
                raise
            reason, detail = Reason.BAD_PAYLOAD, 0
        if reason:
            return self._reject(&command.header, reason, detail)
        if self.trading.next_trade_id != trades:
            self.triggers.on_trades()
        return self._done(&command.header, detail)

    def _linked_account(self, uint32_t account_id, bytes body):
        """Whose orders PLACE_LINKED places: the bucket's where all are of one isolated position, -1 where some are."""
        if account_id >= self.accounts.high or self.accounts.at[account_id].first_bucket == 0:
            return account_id
        payload = msgspec.msgpack.decode(body, type=PlaceLinked)
        slots = [order.instrument for order in payload.orders if 0 <= order.instrument < 0xFFFFFFFF]
        buckets = {self.accounts.bucket_of(account_id, <uint32_t>slot) for slot in slots}
        if len(buckets) > 1:
            return -1
        return max(buckets, default=0) or account_id

    cdef int _place_linked(self, const Header* header, bytes body) except -1:
        """Linked orders; COMMAND_DONE counts them, and comes after what followed. None where one was refused."""
        cdef CommandEvent* event
        account_id = self._linked_account(header.account_id, body)
        if account_id < 0:
            return self._reject(header, R_BAD_LINK, 0)
        reason, placed = self.links.place(account_id, body, msgspec.msgpack.decode)
        if reason:
            return self._reject(header, reason, 0)
        if placed == 0:
            return 0
        self.orders_placed += placed
        self.triggers.on_trades()
        self._follow_links()
        event = <CommandEvent*>self.events.emit(EV_COMMAND_DONE, 1, header.account_id)
        event.command_kind = header.kind
        event.count = placed
        return 0
