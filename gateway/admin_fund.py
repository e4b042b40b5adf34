"""Administration of what pays for defaults: the venue's capital and its claim on the insurance fund."""

from typing import Any

import msgspec

from exchange.commands import CommandKind
from gateway.admin_accounts import FundMoney, transfer
from gateway.admin_operations import Nothing, operation
from gateway.units import money

TRANCHES = ("capital", "fund", "deleveraged")


@operation("endow_capital", FundMoney)
def endow_capital(gateway: Any, params: FundMoney) -> str:
    """Put up capital of the venue, which pays for a default before the fund does."""
    transfer(gateway, CommandKind.ENDOW_CAPITAL, 0, params.currency, params.amount, params.reference)
    return "ok"


@operation("release_capital", FundMoney)
def release_capital(gateway: Any, params: FundMoney) -> str:
    """Take capital of the venue back, as far as it is there."""
    transfer(gateway, CommandKind.RELEASE_CAPITAL, 0, params.currency, params.amount, params.reference)
    return "ok"


@operation("waterfall", Nothing)
def waterfall(gateway: Any, params: Nothing) -> dict[str, Any]:
    """Per currency, in coins: what stands ready, and what each tranche has borne of ended defaults since genesis."""
    return report(gateway.engine)


def report(engine: Any) -> dict[str, Any]:
    """The waterfall of an engine by currency: `ready`, `borne`, `defaults`; and the leases that are open."""
    found = {}
    leases = engine.leases()
    for number, currency in enumerate(engine.config.currencies):
        sums = engine.ledger(currency.name)
        defaults, *borne = engine.liquidation.house.leases.covered.get(number, (0, 0, 0, 0))
        found[currency.name] = {
            "ready": {name: money(sums[name], currency.exponent) for name in TRANCHES[:2]},
            "defaults": defaults,
            "borne": {name: money(minor, currency.exponent) for name, minor in zip(TRANCHES, borne, strict=True)},
            "leases": [msgspec.to_builtins(view) for view in leases if view.currency == currency.name],
        }
    return found
