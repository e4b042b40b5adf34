"""Events that move money or positions beside trades, to rows of the transaction log and the settlements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from exchange.events import BalanceCause, EventKind
from persistence.history_notes import Contract

CAUSES = {
    BalanceCause.DEPOSIT: "deposit",
    BalanceCause.WITHDRAWAL: "withdrawal",
    BalanceCause.FUNDING: "funding",
    BalanceCause.AUCTION_PAYMENT: "auction_payment",
    BalanceCause.LIQUIDATION_FEE: "liquidation_fee",
    BalanceCause.FUND_COVER: "fund_cover",
    BalanceCause.COLLATERAL: "collateral",
    BalanceCause.CONVERSION: "conversion",
    BalanceCause.INTEREST: "interest",
    BalanceCause.TRANSFER: "transfer",
}


class MoneyRows:
    """Base of `persistence.history_rows.Rows`, which holds the rows until they are taken."""

    _rank: int
    _instruments: dict[int, Contract]
    _currencies: list[str]
    _transactions: list[Any]
    _settlements: list[Any]
    _deliveries: list[Any]
    _auction_step: Callable[[Any, bytes], None]

    def _transaction(
        self, fields: Any, account_id: int, currency: str, word: str, *, instrument_id: int | None = None,
        change: int | None = None, fee: int = 0, balance: int | None = None, lots: int | None = None,
        price_e8: int | None = None, reference: int | None = None,
    ) -> None:  # fmt: skip
        self._transactions.append((
            self._rank, account_id, currency, fields.time_ns, word, instrument_id, change, fee, balance, lots,
            price_e8, None, None, None, None, None, None, reference,
        ))  # fmt: skip

    def _balance(self, fields: Any, record: bytes) -> None:
        if fields.account_id:  # 0: the venue's own accounts
            currency, word = self._currencies[fields.currency], CAUSES.get(fields.cause, str(fields.cause))
            self._transaction(
                fields, fields.account_id, currency, word, change=fields.amount_minor, balance=fields.balance_minor,
                reference=fields.reference,
            )  # fmt: skip

    def _position_settled(self, fields: Any, record: bytes) -> None:
        known = self._instruments[fields.instrument]
        cash = fields.payout_minor if known.is_option else fields.realised_minor
        self._settlements.append((
            fields.account_id, known.group_id, self._rank, known.instrument_id, fields.time_ns, fields.quantity_lots,
            fields.payout_minor, fields.realised_minor, fields.settlement_price_e8,
        ))  # fmt: skip
        self._transaction(
            fields, fields.account_id, known.currency, "delivery", instrument_id=known.instrument_id, change=cash,
            lots=fields.quantity_lots, price_e8=fields.settlement_price_e8,
        )  # fmt: skip

    def _settled(self, fields: Any, record: bytes) -> None:
        """The contract's own end stands under account 0; its underlying's delivery price once per expiry."""
        known = self._instruments[fields.instrument]
        if known.is_combo:
            return
        price = fields.settlement_price_e8
        self._settlements.append((0, known.group_id, self._rank, known.instrument_id, fields.time_ns, 0, 0, 0, price))
        if price:
            self._deliveries.append((known.view.underlying, known.view.expiry_ns, price))

    def _moved(self, fields: Any, record: bytes) -> None:
        """POSITION_TRANSFERRED and POSITION_DELEVERAGED: lots come to one account from another."""
        known = self._instruments[fields.instrument]
        cost, word, to, source = None, "position_transfer", "to_account_id", "account_id"
        if hasattr(fields, "from_account_id"):
            cost, word, to, source = fields.cost_minor, "deleveraging", "account_id", "from_account_id"
            if fields.kind == EventKind.POSITION_TORN_UP:
                word = "tear_up"
        for account_id, sign in ((getattr(fields, to), 1), (getattr(fields, source), -1)):
            self._transaction(
                fields, account_id, known.currency, word, change=None if cost is None else -sign * cost,
                instrument_id=known.instrument_id, lots=sign * fields.quantity_lots, reference=fields.auction_id,
            )  # fmt: skip

    def _sold(self, fields: Any, record: bytes) -> None:
        self._auction_step(fields, record)
        # Of a cross account's auction the sums are dollars, not a currency of the ledger.
        currency = self._currencies[fields.currency] if fields.currency < len(self._currencies) else "USD"
        for account_id, word, fee in (
            (fields.account_id, "auction_sale", fields.fee_minor), (fields.buyer_account_id, "auction_purchase", 0),
        ):  # fmt: skip
            change = fields.price_minor if word == "auction_sale" else fields.compensation_minor - fields.price_minor
            self._transaction(fields, account_id, currency, word, change=change, fee=fee, reference=fields.auction_id)
