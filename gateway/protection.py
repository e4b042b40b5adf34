"""Protection groups by the names that clients give them; the engine numbers them per account and underlying."""

from typing import Any

DEFAULT_GROUP = "default"
"""The group of a request that names none, and that of orders with `mmp`."""
ANY_GROUP = 0xFFFF


def group_number(engine: Any, account_id: int, underlying: int, name: str | None) -> int:
    """The engine's number of a group, 0 where there is none of that name."""
    return int(engine.protection.number_of(account_id, underlying, name or DEFAULT_GROUP))


def free_number(engine: Any, account_id: int, underlying: int) -> int:
    """The smallest number that no group of the account on the underlying has, 0 where all are taken."""
    taken = {view.group for view in of_underlying(engine, account_id, underlying)}
    return next((n for n in range(1, engine.config.limits.max_protection_groups + 1) if n not in taken), 0)


def of_underlying(engine: Any, account_id: int, underlying: int) -> list[Any]:
    """Views of an account's groups on an underlying (any: -1)."""
    return [
        view
        for view in engine.protection_groups(account_id)
        if underlying < 0 or engine.underlying_index(view.underlying) == underlying
    ]


def group_name(engine: Any, account_id: int, underlying: int, number: int) -> str:
    """The name of a group, empty where it is no more."""
    found = engine.protection.settings(account_id, underlying, number)
    return "" if found is None else str(found[-1])
