"""Recent transfers of accounts in memory, part of the projection, and a page of them with what the store has."""

from collections import OrderedDict, deque
from itertools import takewhile
from typing import Any

import msgspec

from gateway.units import money, ms
from persistence.history_reads import rank_after


class TransferRecord(msgspec.Struct, frozen=True):
    """A transfer as the engine told of it; `seq` is its command's."""

    transfer_id: int
    seq: int
    time_ns: int
    from_account_id: int
    to_account_id: int
    currency: str
    amount_minor: int
    nonce: str

    def wire(self, engine: Any, account_id: int, exponent: int) -> dict[str, Any]:
        """The transfer as one of its sides sees it."""
        pays = account_id == self.from_account_id
        stamp = ms(self.time_ns)
        found = {
            "id": self.transfer_id,
            "created_timestamp": stamp,
            "updated_timestamp": stamp,
            "type": "subaccount",
            "currency": self.currency,
            "amount": money(self.amount_minor, exponent),
            "other_side": engine.account_name(self.to_account_id if pays else self.from_account_id),
            "state": "confirmed",
            "direction": "payment" if pays else "income",
        }
        return found | ({"nonce": self.nonce} if self.nonce else {})


class TransferRecords:
    """The last `per_account` transfers of the last `accounts` accounts that had any."""

    def __init__(self, per_account: int, accounts: int):
        self._per_account, self._accounts = per_account, accounts
        self._rings: OrderedDict[int, deque[TransferRecord]] = OrderedDict()

    def keep(self, record: TransferRecord) -> None:
        """Remember a transfer under both sides; the account longest without one makes room."""
        for account_id in (record.from_account_id, record.to_account_id):
            if account_id not in self._rings and len(self._rings) >= self._accounts:
                self._rings.popitem(last=False)
            self._rings.setdefault(account_id, deque(maxlen=self._per_account)).append(record)
            self._rings.move_to_end(account_id)

    def after(self, account_id: int, currency: str, seq: int) -> list[TransferRecord]:
        """An account's transfers in a currency by commands after `seq`, newest first."""
        own = takewhile(lambda record: record.seq > seq, reversed(self._rings.get(account_id, ())))
        return [record for record in own if record.currency == currency]


def page(archive: Any, account_id: int, currency: str, offset: int, count: int) -> tuple[list[TransferRecord], int]:
    """(transfers of an account in a currency, newest first, from an offset on; how many there are)."""
    covered = archive.covered[0]
    fresh = archive.transfers_after(account_id, currency, covered)
    shown = fresh[offset : offset + count]
    if archive.reader is None:
        return shown, len(fresh)
    skipped = max(0, offset - len(fresh))
    rows, stored = archive.reader.transfers(account_id, currency, rank_after(covered), skipped, count - len(shown))
    return shown + [_stored(row) for row in rows], len(fresh) + stored


def _stored(row: Any) -> TransferRecord:
    account_id, currency, transfer_id, _, time_ns, amount, other_id, pays, nonce = row
    source, target = (account_id, other_id) if pays else (other_id, account_id)
    return TransferRecord(transfer_id, 0, time_ns, source, target, currency, amount, nonce)
