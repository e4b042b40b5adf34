"""The state of marks and their overrides as the wire shows them."""

from typing import Any

from gateway.units import E8, PPM, ms


def announced(seen: Any) -> dict[str, Any] | None:
    """The margin rates that are announced, of an exchange.mark_views.MarkState; null where none are."""
    found = seen.announced_margin
    return found and {"scale": found[0] / PPM, "effective_timestamp": ms(found[1])}


def state(engine: Any, underlying: int, index_name: str) -> dict[str, Any]:
    """How far an underlying's marks are leaned on; times in ms, 0 or null where there is none."""
    seen = engine.mark_state(underlying)
    held = seen.held_jump
    return {
        "index_name": index_name,
        "stage": seen.stage,
        "age_stage": seen.age_stage,
        "marked_timestamp": ms(seen.marked_ns),
        "held_jump": held
        and {"price": held[0] / E8, "sources": int(held[1]).bit_count(), "since_timestamp": ms(held[2])},
        "paused_until_timestamp": ms(seen.paused_until_ns),
        "index_fixed": seen.index_fixed,
        "margin_scale": seen.margin_scale_ppm / PPM,
        "announced_margin": announced(seen),
    }


def states(engine: Any, index_names: list[str]) -> list[dict[str, Any]]:
    """Every underlying's state."""
    return [state(engine, number, name) for number, name in enumerate(index_names)]


def overrides(engine: Any) -> dict[str, list[dict[str, Any]]]:
    """Proposals that wait and overrides in force, without who is behind them."""
    waiting, in_force = engine.mark_overrides()
    return {"proposed": [_override(one) for one in waiting], "in_force": [_override(one) for one in in_force]}


def _override(one: Any) -> dict[str, Any]:
    found = {
        "proposal": one.proposal,
        "action": one.action,
        "underlying": one.underlying,
        "until_timestamp": ms(one.until_ns),
        "duration_seconds": one.duration_ns / 1e9,
    }
    if one.action in ("accept_jump", "set_index"):
        found["price"] = one.value / E8
    elif one.action == "lift_stage":
        found["stage"] = ("live", "reduce_only")[one.value]
    return found
