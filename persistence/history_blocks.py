"""Questions to the history store about block trades."""

from typing import Any

_FILLS_OF_BLOCK = """
SELECT t.*, f.as_maker FROM trades t JOIN fills f ON f.trade_id = t.trade_id AND f.group_id = t.group_id
    AND f.account_id = :account WHERE t.block_id = :block AND t.block_id > 0 AND t.trade_id <= :last ORDER BY t.trade_id
"""
_BLOCKS = """
SELECT DISTINCT t.block_id FROM trades t JOIN fills f ON f.trade_id = t.trade_id AND f.group_id = t.group_id
    AND f.account_id = :account JOIN groups g ON g.group_id = t.group_id
    WHERE t.block_id BETWEEN :first AND :final AND t.block_id > 0 AND t.trade_id <= :last
    AND (:currency = '' OR g.currency = :currency) ORDER BY t.block_id DESC LIMIT :limit
"""


class BlockReads:
    """Part of the store's reader."""

    def _rows(self, sql: str, parameters: Any) -> list[Any]:
        raise NotImplementedError

    def fills_of_block(self, account_id: int, block_id: int, covered_id: int) -> list[Any]:
        """An account's trades of a block, oldest first, each with its role at the end."""
        return self._rows(_FILLS_OF_BLOCK, {"account": account_id, "block": block_id, "last": covered_id})

    def blocks(self, account_id: int, currency: str, first: int, final: int, covered_id: int, limit: int) -> list[int]:
        """An account's blocks `first` to `final` with a trade in a currency (empty: any), newest first."""
        bounds = {"first": first, "final": final, "last": covered_id, "limit": limit}
        return [row[0] for row in self._rows(_BLOCKS, bounds | {"account": account_id, "currency": currency})]
