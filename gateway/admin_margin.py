"""Administration of margin: the table behind an account's requirement, its portfolio as a case of the library."""

from typing import Any

from gateway import margin_case
from gateway.admin_operations import AdminError, OfAccount, operation
from gateway.render_margin import margin_table
from margin_ext.models import ParameterError, PortfolioError


def _case(gateway: Any, account_id: int) -> dict[str, Any]:
    try:
        return margin_case.document(gateway.engine, account_id)
    except (ParameterError, PortfolioError) as error:
        raise AdminError("not_exportable", str(error)) from None


def _account_id(gateway: Any, params: OfAccount) -> int:
    """Of an account by number or name, or of an isolated position's bucket by number."""
    account_id, engine = params.account_id(gateway), gateway.engine
    holder = engine.holder(account_id)
    if holder != account_id and account_id not in [b.bucket_account_id for b in engine.buckets(holder)]:
        raise AdminError("unknown_account", f"bucket {account_id} is not in use")
    return account_id


@operation("margin_table", OfAccount)
def table(gateway: Any, params: OfAccount) -> dict[str, Any]:
    """Everything that an account's requirement is made of, with its portfolio at the same marks."""
    account_id = _account_id(gateway, params)
    found = margin_table(gateway.engine, gateway.engine.what_if, account_id)
    found |= {
        "account": gateway.engine.account(account_id).name,
        "venue": gateway.engine.config.venue_id,
        "exponents": gateway.listings.exponents,
    }
    try:
        return found | {"portfolio": margin_case.document(gateway.engine, account_id)}
    except (ParameterError, PortfolioError) as error:
        return found | {"portfolio": None, "not_exportable": str(error)}


@operation("portfolio", OfAccount)
def portfolio(gateway: Any, params: OfAccount) -> dict[str, Any]:
    """An account as a case file of the margin library (docs/margin.md)."""
    return _case(gateway, _account_id(gateway, params))
