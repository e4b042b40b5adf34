"""Stress figures of the venue as a whole, and who has paid for defaults. Our own methods."""

from typing import Any

from gateway.admin_fund import report
from gateway.errors import invalid_param
from gateway.protocol import Params
from gateway.registry import method


class Stress(Params, kw_only=True):
    underlying: str | None = None


@method("public/get_stress", params=Stress)
def get_stress(gateway, session, principal, params: Stress) -> list[dict[str, Any]]:
    """Cover-2, reverse stress and liquidation map, per underlying and jointly (`all`); of one where it is named."""
    found = gateway.stress.current()
    if params.underlying is None:
        return found
    chosen = [one for one in found if one["underlying"] == params.underlying]
    if found and not chosen:
        raise invalid_param("underlying", "unknown underlying")
    return chosen


class NoParams(Params, kw_only=True):
    pass


@method("public/get_default_waterfall", params=NoParams)
def get_default_waterfall(gateway, session, principal, params: NoParams) -> dict[str, Any]:
    """Per currency, in coins: what stands ready, and what each tranche has borne since genesis."""
    return {
        name: {part: one[part] for part in ("ready", "defaults", "borne")}
        for name, one in report(gateway.engine).items()
    }
