"""Market-maker protection: settings, state and reset of an account's groups."""

from typing import Any

from exchange import commands
from exchange.commands import CommandKind
from exchange.payloads import Protection, ResetProtection
from gateway.errors import ApiError, engine_refusal, invalid_param
from gateway.protection import DEFAULT_GROUP, free_number, group_number, of_underlying
from gateway.protocol import Params
from gateway.registry import method
from gateway.units import E8, NotExact, ms, to_e8

READ, WRITE = "trade:read", "trade:read_write"
SECOND_NS = 1_000_000_000
MAX_SECONDS = 10**9
MAX_LIMIT = 1e9
NAME_BYTES = 64


class Group(Params, kw_only=True):
    index_name: str
    mmp_group: str | None = None


class AnyGroup(Params, kw_only=True):
    index_name: str | None = None
    mmp_group: str | None = None


class MmpConfig(Group, kw_only=True):
    interval: int
    frozen_time: int
    quantity_limit: float | None = None
    delta_limit: float | None = None
    vega_limit: float | None = None
    max_quote_quantity: float | None = None
    trade_count_limit: int | None = None
    block_rfq: bool | None = None


def _underlying(gateway, index_name: str) -> int:
    found = gateway.listings.index_by_name(index_name)
    if found < 0:
        raise invalid_param("index_name", "invalid value")
    return int(found)


def _seconds(value: int, param: str) -> int:
    if not 0 <= value <= MAX_SECONDS:
        raise invalid_param(param, f"must be between 0 and {MAX_SECONDS}")
    return value * SECOND_NS


def _limit_e8(value: float | None, param: str) -> int:
    """A limit in 1e-8, 0 where there is none."""
    if value is None:
        return 0
    if not 0 <= value <= MAX_LIMIT:
        raise invalid_param(param, f"must be between 0 and {MAX_LIMIT:.0f}")
    try:
        return to_e8(value)
    except NotExact:
        raise invalid_param(param, "must have at most 8 decimals") from None


def _index_names(gateway) -> dict[str, str]:
    return {one.name: one.index_name for one in gateway.engine.config.underlyings}


def _entry(gateway, view: Any) -> dict[str, Any]:
    """One group's settings; limits that are not set are left out."""
    found: dict[str, Any] = {
        "index_name": _index_names(gateway)[view.underlying],
        "mmp_group": view.name,
        "interval": view.interval_ns // SECOND_NS,
        "frozen_time": view.frozen_ns // SECOND_NS,
        "block_rfq": False,
    }
    for name, value_e8 in (
        ("quantity_limit", view.quantity_limit_e8),
        ("delta_limit", view.delta_limit_e8),
        ("vega_limit", view.vega_limit_e8),
        ("max_quote_quantity", view.max_quote_e8),
    ):
        if value_e8:
            found[name] = value_e8 / E8
    return found


def _views(gateway, principal, params: AnyGroup) -> list[Any]:
    underlying = -1 if params.index_name is None else _underlying(gateway, params.index_name)
    found = of_underlying(gateway.engine, principal.account_id, underlying)
    return [view for view in found if params.mmp_group in (None, view.name)]


@method("private/set_mmp_config", params=MmpConfig, scope=WRITE)
def set_mmp_config(gateway, session, principal, params: MmpConfig) -> list[dict[str, Any]]:
    """Set a group's limits (seconds, coins, USD per vol point); `interval` 0 removes it and cancels its orders."""
    for name in ("trade_count_limit", "block_rfq"):
        if getattr(params, name):
            raise ApiError(10033, {"reason": "not offered", "param": name})
    name = params.mmp_group or DEFAULT_GROUP
    if len(name.encode("utf-8", "replace")) > NAME_BYTES:
        raise invalid_param("mmp_group", f"must be at most {NAME_BYTES} bytes long")
    underlying, engine = _underlying(gateway, params.index_name), gateway.engine
    number = group_number(engine, principal.account_id, underlying, name)
    if number == 0:
        if params.interval == 0:
            raise ApiError(13020, {"reason": "unknown_group", "param": "mmp_group"})
        number = free_number(engine, principal.account_id, underlying)
        if number == 0:
            raise invalid_param("mmp_group", "too many groups")
    payload = Protection(
        underlying=engine.config.underlyings[underlying].name,
        group=number,
        interval_ns=_seconds(params.interval, "interval"),
        frozen_ns=_seconds(params.frozen_time, "frozen_time"),
        quantity_limit_e8=_limit_e8(params.quantity_limit, "quantity_limit"),
        delta_limit_e8=_limit_e8(params.delta_limit, "delta_limit"),
        vega_limit_e8=_limit_e8(params.vega_limit, "vega_limit"),
        max_quote_e8=_limit_e8(params.max_quote_quantity, "max_quote_quantity"),
        name=name,
    )
    news = gateway.submit(commands.cold(CommandKind.SET_PROTECTION, payload, principal.account_id), session)
    if news.rejected:
        raise engine_refusal(news.rejected)
    return [_entry(gateway, view) for view in of_underlying(engine, principal.account_id, underlying)
            if view.group == number]  # fmt: skip


@method("private/get_mmp_config", params=AnyGroup, scope=READ)
def get_mmp_config(gateway, session, principal, params: AnyGroup) -> list[dict[str, Any]]:
    """Settings of the account's groups, of one index or name where given."""
    return [_entry(gateway, view) for view in _views(gateway, principal, params)]


@method("private/get_mmp_status", params=AnyGroup, scope=READ)
def get_mmp_status(gateway, session, principal, params: AnyGroup) -> list[dict[str, Any]]:
    """The groups that are frozen, and until when (ms; 0: until they are reset)."""
    names = _index_names(gateway)
    return [
        {
            "index_name": names[view.underlying],
            "mmp_group": view.name,
            "frozen_until": max(0, ms(view.frozen_until_ns)) if view.frozen_until_ns > 0 else 0,
            "block_rfq": False,
        }
        for view in _views(gateway, principal, params)
        if view.frozen_until_ns
    ]


@method("private/reset_mmp", params=Group, scope=WRITE)
def reset_mmp(gateway, session, principal, params: Group) -> str:
    """Put a group's sums to zero and take its quotes again."""
    underlying = _underlying(gateway, params.index_name)
    number = group_number(gateway.engine, principal.account_id, underlying, params.mmp_group)
    if number == 0:
        raise ApiError(13020, {"reason": "unknown_group", "param": "mmp_group"})
    payload = ResetProtection(gateway.engine.config.underlyings[underlying].name, number)
    news = gateway.submit(commands.cold(CommandKind.RESET_PROTECTION, payload, principal.account_id), session)
    if news.rejected:
        raise engine_refusal(news.rejected)
    return "ok"
