"""Administration of accounts: creation, keys, money, margin models."""

from typing import Any

import msgspec

from exchange import commands, config
from exchange.commands import CommandKind
from exchange.reasons import Reason
from gateway import records
from gateway.admin_operations import AdminError, Nothing, OfAccount, operation, submit
from gateway.credentials import FULL_SCOPES, Credential, CredentialError
from gateway.units import NotExact, to_minor


class Key(msgspec.Struct, kw_only=True):
    name: str = "default"
    scopes: tuple[str, ...] = FULL_SCOPES
    demo: bool = False
    client_id: str = ""
    client_secret: str = ""


def key_result(credential: Credential) -> dict[str, Any]:
    """A new key with its secret: shown once, here."""
    return {
        "name": credential.name,
        "account_id": credential.account_id,
        "key_id": credential.key_id,
        "client_id": credential.client_id,
        "client_secret": credential.secret,
    }


def create_key(gateway: Any, account_id: int, key: Key) -> dict[str, Any]:
    """Make a key for an account."""
    try:
        return key_result(
            gateway.credentials.create(account_id, key.name, key.scopes, key.demo, key.client_id, key.client_secret)
        )
    except CredentialError as error:
        raise AdminError("bad_key", str(error)) from None


def amount_minor(gateway: Any, currency: str, amount: float | str) -> int:
    """Minor units of an amount of a currency of the venue."""
    exponent = gateway.listings.exponents.get(currency)
    if exponent is None:
        raise AdminError("unknown_currency", f"no currency {currency!r}")
    try:
        return to_minor(amount, exponent)
    except NotExact:
        raise AdminError("bad_amount", f"{amount!r} has more than {exponent} decimals") from None


def transfer(
    gateway: Any, kind: CommandKind, account_id: int, currency: str, amount: float | str, reference: int = 0
) -> None:
    """Submit a DEPOSIT, WITHDRAW or ENDOW_FUND."""
    minor = amount_minor(gateway, currency, amount)
    payload = config.Transfer(currency=currency, amount_minor=minor, reference=reference)
    submit(gateway, commands.cold(kind, payload, account_id))


class CreateAccount(msgspec.Struct, kw_only=True):
    name: str
    owner_id: int = 0
    margin_model: config.MarginModel = "segregated_pm"
    deposits: dict[str, float | str] = {}
    key: Key | None = None


@operation("create_account", CreateAccount)
def create_account(gateway: Any, params: CreateAccount) -> dict[str, Any]:
    """Create an account, fund it, and give it a key where asked for."""
    for currency, amount in params.deposits.items():  # before anything exists: all or nothing
        if amount_minor(gateway, currency, amount) <= 0:
            raise AdminError("amount_not_positive", f"deposit {currency}={amount}")
    payload = config.CreateAccount(name=params.name, owner_id=params.owner_id, margin_model=params.margin_model)
    news = submit(gateway, commands.cold(CommandKind.CREATE_ACCOUNT, payload))
    account_id = news.created_account
    for currency, amount in params.deposits.items():
        transfer(gateway, CommandKind.DEPOSIT, account_id, currency, amount)
    keys = [] if params.key is None else [create_key(gateway, account_id, params.key)]
    return {"account_id": account_id, "name": params.name, "keys": keys}


class CreateKey(OfAccount, kw_only=True):
    key: Key = msgspec.field(default_factory=Key)


@operation("create_key", CreateKey)
def create_key_operation(gateway: Any, params: CreateKey) -> dict[str, Any]:
    """Make another key for an account."""
    return create_key(gateway, params.account_id(gateway), params.key)


@operation("list_keys", Nothing)
def list_keys(gateway: Any, params: Nothing) -> list[dict[str, Any]]:
    """Every key without its secret."""
    shown = ("client_id", "account_id", "key_id", "name", "scopes", "demo")
    return [{name: getattr(item, name) for name in shown} for item in gateway.credentials.all()]


class RevokeKey(msgspec.Struct):
    client_id: str


@operation("revoke_key", RevokeKey)
def revoke_key(gateway: Any, params: RevokeKey) -> str:
    """Remove a key; its sessions lose their login."""
    if not gateway.revoke_key(params.client_id):
        raise AdminError("unknown_key")
    return "ok"


class Money(OfAccount, kw_only=True):
    currency: str
    amount: float | str
    reference: int = 0


@operation("deposit", Money)
def deposit(gateway: Any, params: Money) -> str:
    """Credit an account from outside."""
    account_id = params.account_id(gateway)
    transfer(gateway, CommandKind.DEPOSIT, account_id, params.currency, params.amount, params.reference)
    return "ok"


@operation("withdraw", Money)
def withdraw(gateway: Any, params: Money) -> str:
    """Pay out of an account."""
    account_id = params.account_id(gateway)
    transfer(gateway, CommandKind.WITHDRAW, account_id, params.currency, params.amount, params.reference)
    return "ok"


class FundMoney(msgspec.Struct, kw_only=True):
    currency: str
    amount: float | str
    reference: int = 0


@operation("endow_fund", FundMoney)
def endow_fund(gateway: Any, params: FundMoney) -> str:
    """Credit the insurance fund from outside."""
    transfer(gateway, CommandKind.ENDOW_FUND, 0, params.currency, params.amount, params.reference)
    return "ok"


class OneCurrency(msgspec.Struct):
    currency: str


@operation("sweep_dust", OneCurrency)
def sweep_dust(gateway: Any, params: OneCurrency) -> str:
    """Move rounding dust to the fund."""
    submit(gateway, commands.cold(CommandKind.SWEEP_DUST, config.Transfer(currency=params.currency)))
    return "ok"


class MarginModel(OfAccount, kw_only=True):
    margin_model: config.MarginModel


@operation("change_margin_model", MarginModel)
def change_margin_model(gateway: Any, params: MarginModel) -> str:
    """Change an account's margin model."""
    payload = config.ChangeMarginModel(margin_model=params.margin_model)
    submit(gateway, commands.cold(CommandKind.CHANGE_MARGIN_MODEL, payload, params.account_id(gateway)))
    return "ok"


@operation("cancel_all", OfAccount)
def cancel_all(gateway: Any, params: OfAccount) -> dict[str, int]:
    """Cancel an account's open orders."""
    news = submit(gateway, records.cancel_every(params.account_id(gateway), int(Reason.ADMIN_REQUEST)))
    return {"cancelled": news.count}
