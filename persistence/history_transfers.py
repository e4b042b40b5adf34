"""Transfers between accounts in the history store, a row under either side; the log of transactions names them."""

from typing import Any

from exchange.commands import SLOT_BYTES

SCHEMA = """
CREATE TABLE transfers (
    account_id INTEGER, currency TEXT, transfer_id INTEGER, rank INTEGER, time_ns INTEGER, amount_minor INTEGER,
    other_id INTEGER, pays INTEGER, nonce TEXT, PRIMARY KEY (account_id, currency, transfer_id)) WITHOUT ROWID;
"""
ADD_TRANSFER = "INSERT OR REPLACE INTO transfers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PAGE = """
SELECT * FROM transfers WHERE account_id = ? AND currency = ? AND rank <= ? ORDER BY transfer_id DESC LIMIT ? OFFSET ?
"""
_TRANSACTIONS = """
SELECT t.*, x.other_id FROM transactions t LEFT JOIN transfers x ON t.type = 'transfer'
    AND x.account_id = t.account_id AND x.currency = t.currency AND x.transfer_id = t.reference
    WHERE t.account_id = ? AND t.currency = ? AND t.rank < ? AND t.time_ns BETWEEN ? AND ?
    AND (? = '' OR t.type = ?) ORDER BY t.rank DESC LIMIT ?
"""
_COUNT = "SELECT count(*) FROM transfers WHERE account_id = ? AND currency = ? AND rank <= ?"


class TransferRows:
    """Base of `persistence.history_rows.Rows`, which holds the rows until they are taken."""

    _rank: int
    _currencies: list[str]
    _transfers: list[Any]

    def _transferred(self, fields: Any, record: bytes) -> None:
        nonce = record[SLOT_BYTES : SLOT_BYTES + fields.nonce_bytes].decode("utf-8", "replace")
        currency, sides = self._currencies[fields.currency], (fields.account_id, fields.to_account_id)
        for account_id, other_id, pays in ((*sides, 1), (*reversed(sides), 0)):
            self._transfers.append((
                account_id, currency, fields.transfer_id, self._rank, fields.time_ns, fields.amount_minor, other_id,
                pays, nonce,
            ))  # fmt: skip


class TransferReads:
    """Part of the store's reader."""

    def _rows(self, sql: str, parameters: Any) -> list[Any]:
        raise NotImplementedError

    def transfers(self, account_id: int, currency: str, last: int, offset: int, limit: int) -> tuple[list[Any], int]:
        """(an account's transfers in a currency up to a rank, newest first, from an offset on; how many there are)."""
        total = self._rows(_COUNT, (account_id, currency, last))[0][0]
        return self._rows(_PAGE, (account_id, currency, last, limit, offset)), total

    def transactions(
        self, account_id: int, currency: str, before: int, start_ns: int, end_ns: int, word: str, limit: int
    ) -> list[Any]:
        """Transactions of an account, newest first, before a rank; at the end of each the other side of a transfer."""
        return self._rows(_TRANSACTIONS, (account_id, currency, before, start_ns, end_ns, word, word, limit))
