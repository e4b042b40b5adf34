"""Administration of the marks' governance: operators, overrides that take two, announced margin."""

from typing import Any

import msgspec

from exchange import commands, governance
from exchange.commands import CommandKind
from gateway import render_marks
from gateway.admin_operations import AdminError, Nothing, operation, submit
from gateway.operators import Operators, Signature
from gateway.units import E8, PPM


def operators(gateway: Any) -> Operators:
    """The operators of a venue."""
    return Operators(gateway.credentials)


class NewOperator(msgspec.Struct, kw_only=True):
    name: str
    by: list[Signature] = []
    """Two operators, once there are two."""


@operation("create_operator", NewOperator)
def create_operator(gateway: Any, params: NewOperator) -> dict[str, Any]:
    """A new operator; its secret is shown once, here."""
    number, secret = operators(gateway).create(params.name, params.by)
    return {"operator": number, "name": params.name, "secret": secret}


@operation("remove_operator", NewOperator)
def remove_operator(gateway: Any, params: NewOperator) -> str:
    """An operator may act no more."""
    operators(gateway).remove(params.name, params.by)
    return "ok"


@operation("operators", Nothing)
def list_operators(gateway: Any, params: Nothing) -> list[dict[str, Any]]:
    """Everybody who is or was an operator."""
    return [{"operator": one.number, "name": one.name, "active": one.active} for one in operators(gateway).all()]


class Signed(msgspec.Struct, kw_only=True):
    by: Signature


class Proposal(Signed, kw_only=True):
    action: governance.Action
    underlying: str
    price: float | None = None
    """USD, of set_index; of accept_jump the held one where left out."""
    stage: int = 0
    """Of lift_stage: 0 live, 1 reduce-only."""
    seconds: float = 0.0
    """Of lift_stage and set_index."""


@operation("propose_override", Proposal)
def propose_override(gateway: Any, params: Proposal) -> dict[str, int]:
    """Propose an override; another operator approves it."""
    number = operators(gateway).number_of(params.by)
    value = {"lift_stage": params.stage, "resume": 0}.get(params.action, 0)
    if params.price is not None:
        value = round(params.price * E8)
    elif params.action == "accept_jump":
        underlying = gateway.engine.underlying_index(params.underlying)
        held = gateway.engine.mark_state(underlying).held_jump if underlying >= 0 else None
        value = held[0] if held else 0
    payload = governance.ProposeOverride(
        operator=number,
        action=params.action,
        underlying=params.underlying,
        value=value,
        duration_ns=round(params.seconds * 1e9),
    )
    return {"proposal": submit(gateway, commands.cold(CommandKind.PROPOSE_OVERRIDE, payload)).detail}


class Decision(Signed, kw_only=True):
    proposal: int


def _decide(gateway: Any, params: Decision, decision: Any) -> dict[str, int]:
    number = operators(gateway).number_of(params.by)
    payload = governance.DecideOverride(operator=number, proposal=params.proposal, decision=decision)
    return {"proposal": submit(gateway, commands.cold(CommandKind.DECIDE_OVERRIDE, payload)).detail}


@operation("approve_override", Decision)
def approve_override(gateway: Any, params: Decision) -> dict[str, int]:
    """Approve somebody else's proposal: it is done, or in force."""
    return _decide(gateway, params, "approve")


@operation("reject_override", Decision)
def reject_override(gateway: Any, params: Decision) -> dict[str, int]:
    """Reject a proposal, or withdraw one's own."""
    return _decide(gateway, params, "reject")


@operation("revoke_override", Decision)
def revoke_override(gateway: Any, params: Decision) -> dict[str, int]:
    """End an override that is in force."""
    return _decide(gateway, params, "revoke")


class Announcement(Signed, kw_only=True):
    underlying: str
    scale: float
    """Of the margin rates of the parameter sets; the one in force withdraws what is announced."""
    effective_ns: int = 0
    """Venue time; 0: as soon as may be."""


@operation("announce_margin", Announcement)
def announce_margin(gateway: Any, params: Announcement) -> dict[str, int]:
    """Announce other margin rates of an underlying."""
    payload = governance.AnnounceMargin(
        operator=operators(gateway).number_of(params.by),
        underlying=params.underlying,
        scale_ppm=round(params.scale * PPM),
        effective_ns=params.effective_ns,
    )
    return {"effective_ns": submit(gateway, commands.cold(CommandKind.ANNOUNCE_MARGIN, payload)).detail}


class SourcePrice(msgspec.Struct, kw_only=True):
    underlying: str
    source: str
    price: float
    """USD"""


@operation("source_price", SourcePrice)
def source_price(gateway: Any, params: SourcePrice) -> str:
    """What a socket source of the index says now; it counts from the feed's next update on."""
    if gateway.index_feed is None:
        raise AdminError("no_sources", "the index of this venue is its feed's own")
    try:
        gateway.index_feed.say(params.underlying, params.source, round(params.price * E8), gateway.sequencer.clock())
    except (ValueError, OverflowError) as error:
        raise AdminError("bad_source", str(error)) from None
    return "ok"


@operation("index_sources", Nothing)
def index_sources(gateway: Any, params: Nothing) -> list[dict[str, Any]]:
    """Every source of every index: its newest price, its age, and whether it agrees; [] where there is one only."""
    return [] if gateway.index_feed is None else gateway.index_feed.states(gateway.sequencer.clock())


@operation("governance", Nothing)
def shown(gateway: Any, params: Nothing) -> dict[str, Any]:
    """State of every underlying's marks, and overrides with who proposed and approved them."""
    known = operators(gateway)
    found = render_marks.overrides(gateway.engine)
    for views, rows in zip(gateway.engine.mark_overrides(), (found["proposed"], found["in_force"]), strict=True):
        for view, row in zip(views, rows, strict=True):
            row["proposer"] = known.name_of(view.proposer)
            row["approver"] = known.name_of(view.approver) if view.approver else None
    return {"marks": render_marks.states(gateway.engine, gateway.listings.index_names), **found}
