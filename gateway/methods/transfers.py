"""Transfers of money between the accounts of an owner."""

from typing import Any

from exchange import commands
from exchange.commands import CommandKind
from exchange.payloads import SubmitTransfer
from exchange.reasons import Reason
from exchange.transfer_views import NONCE_BYTES
from gateway import transfer_records
from gateway.errors import ApiError, engine_refusal, invalid_param
from gateway.methods.filters import MAX_OFFSET, check_count, currency_name
from gateway.protocol import Params
from gateway.registry import method
from gateway.transfer_records import TransferRecord
from gateway.units import NotExact, to_minor

READ, WRITE = "wallet:read", "wallet:read_write"
KEPT = (Reason.INSUFFICIENT_WITHDRAWABLE, Reason.ANNOUNCED_MARGIN, Reason.STRESSED_MARGIN)
"""What the money that leaves must leave behind; in all three cases there is not enough of it."""


class ToSubaccount(Params, kw_only=True):
    currency: str
    amount: float
    destination: int


class BetweenSubaccounts(ToSubaccount, kw_only=True):
    source: int | None = None
    nonce: str | None = None


class Transfers(Params, kw_only=True):
    currency: str
    count: int | None = None
    offset: int | None = None


def _currency(gateway, name: str) -> tuple[str, int]:
    """(currency, exponent); -32602 for one that the venue does not have."""
    currency = currency_name(name)
    exponent = gateway.listings.exponents.get(currency)
    if exponent is None:
        raise invalid_param("currency", "invalid currency")
    return currency, exponent


def _account(number: int) -> int:
    if not 0 < number < 1 << 32:
        raise engine_refusal(Reason.UNKNOWN_SUBACCOUNT)
    return number


def _nonce(text: str) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise invalid_param("nonce", "wrong format") from None
    if size not in NONCE_BYTES:
        raise invalid_param("nonce", "must have 8 to 128 bytes")
    return text


def _submit(gateway, session, principal, params: ToSubaccount, source: int | None, nonce: str) -> dict[str, Any]:
    currency, exponent = _currency(gateway, params.currency)
    try:
        amount = to_minor(params.amount, exponent)
    except NotExact:
        raise invalid_param("amount", "finer than the currency") from None
    if not -1 << 62 < amount < 1 << 62:
        raise engine_refusal(Reason.AMOUNT_TOO_LARGE)
    account_id = principal.account_id
    giver = account_id if source is None else _account(source)
    payload = SubmitTransfer(currency, amount, _account(params.destination), giver, nonce)
    news = gateway.submit(commands.cold(CommandKind.SUBMIT_TRANSFER, payload, account_id), session)
    if news.rejected in KEPT:
        raise ApiError(10009, {"reason": Reason(news.rejected).name.lower()})
    if news.rejected:
        raise engine_refusal(news.rejected)
    made = news.transfer
    if made is None:  # made before, with the same nonce
        known = gateway.engine.transfer_by_nonce(account_id, nonce)
        made = TransferRecord(
            known.transfer_id, 0, known.time_ns, giver, payload.destination, currency, known.amount_minor, nonce
        )
    return made.wire(gateway.engine, giver, exponent)


@method("private/submit_transfer_to_subaccount", params=ToSubaccount, scope=WRITE)
def submit_transfer_to_subaccount(gateway, session, principal, params: ToSubaccount) -> dict[str, Any]:
    """Money of the account to another account of its owner."""
    return _submit(gateway, session, principal, params, None, "")


@method("private/submit_transfer_between_subaccounts", params=BetweenSubaccounts, scope=WRITE)
def submit_transfer_between_subaccounts(gateway, session, principal, params: BetweenSubaccounts) -> dict[str, Any]:
    """Money from one account of an owner to another. `source` is the key's own account where absent; the main account
    may name any of its owner's. The same `nonce` again, within a day, answers with the transfer that it made."""
    nonce = "" if params.nonce is None else _nonce(params.nonce)
    return _submit(gateway, session, principal, params, params.source, nonce)


@method("private/get_transfers", params=Transfers, scope=READ)
def get_transfers(gateway, session, principal, params: Transfers) -> dict[str, Any]:
    """Transfers from and to the account in a currency, newest first, and how many there are."""
    currency, exponent = _currency(gateway, params.currency)
    offset, count = params.offset or 0, check_count(params.count, 10)
    if not 0 <= offset <= MAX_OFFSET:
        raise invalid_param("offset", f"must be between 0 and {MAX_OFFSET}")
    found, total = transfer_records.page(gateway.archive, principal.account_id, currency, offset, count)
    return {"count": total, "data": [one.wire(gateway.engine, principal.account_id, exponent) for one in found]}
