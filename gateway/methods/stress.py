"""Stress figures of the venue as a whole. Our own method."""

from typing import Any

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
