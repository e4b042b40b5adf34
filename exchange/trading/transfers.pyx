"""Transfers: money moves from one account of an owner to another.

An account gives its own; the owner's main account also that of the others. What may leave is what may be withdrawn. A
client's nonce makes a transfer idempotent: the same again within NONCE_NS answers with the first one's id and moves
nothing. Rules: docs/marks.md, "Transfers".
"""

from collections import deque

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from exchange.clearing.account cimport Accounts
from exchange.clearing.ledger cimport Ledger
from exchange.event_buffer cimport EventBuffer
from exchange.events import BalanceCause
from exchange.liquidation.monitor cimport Monitor
from exchange.reasons import Reason
from exchange.records cimport (
    EV_BALANCE_CHANGED, EV_FUNDS_TRANSFERRED, SLOT_BYTES, BalanceChanged, FundsTransferred,
)
from exchange.transfer_views import NONCE_BYTES, TransferView

NONCE_NS = 86_400_000_000_000
MAX_NONCES_OF_ACCOUNT = 1_024
MAX_NONCES = 262_144


cdef class Transfers:
    """Checks and books transfers; remembers those with a nonce for a day."""

    cdef Accounts accounts
    cdef Ledger ledger
    cdef Monitor monitor
    cdef EventBuffer events
    cdef int64_t most_minor
    cdef readonly uint64_t next_transfer_id
    cdef dict by_nonce            # {account that gave the command: {nonce: TransferView}}
    cdef object oldest            # deque of the same as (time_ns, account, nonce)

    def __init__(self, Accounts accounts, Ledger ledger, Monitor monitor, EventBuffer events, config):
        self.accounts = accounts
        self.ledger = ledger
        self.monitor = monitor
        self.events = events
        self.most_minor = config.limits.max_balance_minor // 2
        self.next_transfer_id = 1
        self.by_nonce = {}
        self.oldest = deque()

    def submit(self, uint32_t account_id, payload, int currency, leaving):
        """(reason, detail) of SUBMIT_TRANSFER. detail: the transfer's id; of a refusal the account that is at fault, or
        the most that may leave.

        `leaving(account_id, currency, amount)` is (reason, most) of money that would leave an account."""
        source = payload.source or account_id
        if not self.accounts.exists(account_id):
            return Reason.UNKNOWN_ACCOUNT, 0
        if currency < 0:
            return Reason.UNKNOWN_CURRENCY, 0
        if payload.amount_minor <= 0:
            return Reason.AMOUNT_NOT_POSITIVE, 0
        if payload.amount_minor > self.most_minor:
            return Reason.AMOUNT_TOO_LARGE, 0
        size = len(payload.nonce.encode())
        if size and size not in NONCE_BYTES:
            return Reason.BAD_PAYLOAD, 0
        self._forget()
        known = self.find(account_id, payload.nonce) if size else None
        if known is not None:
            same = (known.from_account_id, known.to_account_id, known.currency, known.amount_minor) == (
                source, payload.destination, payload.currency, payload.amount_minor)
            return (Reason.NONE if same else Reason.NONCE_USED), known.transfer_id
        reason, detail = self._sides(account_id, source, payload.destination)
        if reason:
            return reason, detail
        if self.accounts.at[<uint32_t>source].in_liquidation:
            return Reason.ACCOUNT_IN_LIQUIDATION, source
        if self.ledger.cash_of(payload.destination, currency) + payload.amount_minor > self.most_minor:
            return Reason.AMOUNT_TOO_LARGE, payload.destination
        if size and (len(self.by_nonce.get(account_id, ())) >= MAX_NONCES_OF_ACCOUNT
                     or len(self.oldest) >= MAX_NONCES):
            return Reason.NONCE_LIMIT, 0
        reason, most = leaving(source, currency, payload.amount_minor)
        if reason:
            return reason, most
        return Reason.NONE, self._book(account_id, source, payload, currency)

    def find(self, uint32_t account_id, str nonce):
        """exchange.transfer_views.TransferView of what an account submitted with a nonce, None where that is not
        remembered."""
        return self.by_nonce.get(account_id, {}).get(nonce)

    def _sides(self, uint32_t account_id, source, destination):
        """(reason, account at fault): both sides belong to the owner, and who gives the command may move the money."""
        cdef uint32_t owner = self.accounts.at[account_id].owner_id
        for one in (source, destination):
            if not 0 < one < self.accounts.high or self.accounts.at[<uint32_t>one].owner_id != owner:
                return Reason.UNKNOWN_SUBACCOUNT, one if 0 < one <= 0xFFFFFFFF else 0
            if self.accounts.is_bucket(one):
                return Reason.BUCKET_ACCOUNT, one
        if source == destination:
            return Reason.SAME_ACCOUNT, source
        if source != account_id and not self.accounts.is_main(account_id):
            return Reason.NOT_MAIN_ACCOUNT, source
        return Reason.NONE, 0

    def _forget(self):
        """Drop nonces that are older than NONCE_NS."""
        now = int(self.events.time_ns)
        while self.oldest and self.oldest[0][0] < now - NONCE_NS:
            _, account_id, nonce = self.oldest.popleft()
            kept = self.by_nonce[account_id]
            del kept[nonce]
            if not kept:
                del self.by_nonce[account_id]

    def _book(self, uint32_t account_id, uint32_t source, payload, int currency):
        """Move the money, say so, remember the nonce; returns the transfer's id."""
        cdef FundsTransferred* event
        cdef uint64_t transfer_id = self.next_transfer_id
        cdef uint32_t destination = payload.destination
        cdef int64_t amount = payload.amount_minor
        cdef bytes nonce = payload.nonce.encode()
        self.next_transfer_id += 1
        self.ledger.transfer(source, destination, currency, amount)
        event = <FundsTransferred*>self.events.emit(
            EV_FUNDS_TRANSFERRED, 1 + (len(nonce) + SLOT_BYTES - 1) // SLOT_BYTES, source)
        event.transfer_id = transfer_id
        event.to_account_id = destination
        event.currency = currency
        event.nonce_bytes = len(nonce)
        event.amount_minor = amount
        event.submitted_by = account_id
        memcpy(<char*>event + sizeof(FundsTransferred), <const char*>nonce, len(nonce))
        self._say(source, currency, -amount, transfer_id)
        self._say(destination, currency, amount, transfer_id)
        if nonce:
            now = int(self.events.time_ns)
            self.by_nonce.setdefault(account_id, {})[payload.nonce] = TransferView(
                transfer_id=transfer_id, time_ns=now, from_account_id=source, to_account_id=destination,
                currency=payload.currency, amount_minor=amount, nonce=payload.nonce)
            self.oldest.append((now, account_id, payload.nonce))
        self.monitor.check(source)
        self.monitor.check(destination)
        return transfer_id

    def _say(self, uint32_t account_id, int currency, int64_t amount, uint64_t transfer_id):
        cdef BalanceChanged* event = <BalanceChanged*>self.events.emit(EV_BALANCE_CHANGED, 1, account_id)
        event.currency = currency
        event.cause = BalanceCause.TRANSFER
        event.instrument = 0xFFFFFFFF
        event.amount_minor = amount
        event.balance_minor = self.ledger.balance(account_id, currency)
        event.reference = transfer_id

    def export(self):
        """Canonical state; [] while there was no transfer."""
        if self.next_transfer_id == 1:
            return []
        return [[self.next_transfer_id, [
            [account_id, one.nonce, one.transfer_id, one.time_ns, one.from_account_id, one.to_account_id, one.currency,
             one.amount_minor]
            for account_id, kept in sorted(self.by_nonce.items()) for one in kept.values()]]]
