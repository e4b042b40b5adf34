"""Administration of instruments, marks, time and the fund's leases; the state of the venue."""

import base64
import binascii
from typing import Any

import msgspec
import numpy as np

from exchange import commands, config, payloads
from exchange.commands import CommandKind
from exchange.trading.killswitch import SCOPES
from gateway.admin_operations import AdminError, Nothing, OfAccount, operation, submit
from gateway.units import money


@operation("list_instruments", config.ListInstruments)
def list_instruments(gateway: Any, params: config.ListInstruments) -> dict[str, int]:
    """List new contracts."""
    submit(gateway, commands.cold(CommandKind.LIST_INSTRUMENTS, params))
    return {"listed": len(params.instruments)}


@operation("set_instrument_state", config.InstrumentState)
def set_instrument_state(gateway: Any, params: config.InstrumentState) -> str:
    """Open, halt or restrict an instrument, or put it into an auction."""
    submit(gateway, commands.cold(CommandKind.SET_INSTRUMENT_STATE, params))
    return "ok"


@operation("kill_switch", payloads.KillSwitch)
def kill_switch(gateway: Any, params: payloads.KillSwitch) -> dict[str, int]:
    """Stop (or let go) the venue, an underlying, an owner or an account (by number or name)."""
    if params.scope == "account":
        target = params.target
        known = OfAccount(account=int(target) if target.isascii() and target.isdecimal() else target)
        params = msgspec.structs.replace(params, target=str(known.account_id(gateway)))
    news = submit(gateway, commands.cold(CommandKind.KILL_SWITCH, params))
    return {"cancelled": news.detail}


@operation("stopped", Nothing)
def stopped(gateway: Any, params: Nothing) -> list[dict[str, str]]:
    """The kill switches that are on."""
    names = [underlying.name for underlying in gateway.engine.config.underlyings]
    return [
        {"scope": SCOPES[scope], "target": names[target] if SCOPES[scope] == "underlying" else str(target or "")}
        for scope, target in gateway.engine.switches.on()
    ]


class Marks(msgspec.Struct, kw_only=True):
    underlying: str
    index_price_e8: int
    source_time_ns: int
    forwards: str = ""
    """base64 of packed (expiry_ns, forward_e8) entries."""
    vols: str = ""
    """base64 of packed (instrument slot, vol_e6) entries."""


def _entries(text: str, layout: np.dtype[Any], name: str) -> np.ndarray[Any, Any]:
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), dtype=layout)
    except (binascii.Error, ValueError):
        raise AdminError("bad_payload", f"{name} is no base64 of {layout.itemsize}-byte entries") from None


@operation("update_marks", Marks)
def update_marks(gateway: Any, params: Marks) -> str:
    """Publish a whole surface of one underlying."""
    underlying = gateway.engine.underlying_index(params.underlying)
    if underlying < 0:
        raise AdminError("unknown_underlying")
    forwards = [tuple(entry) for entry in _entries(params.forwards, commands.FORWARD_ENTRY, "forwards").tolist()]
    vols = _entries(params.vols, commands.VOL_ENTRY, "vols")
    submit(
        gateway,
        commands.update_marks(underlying, params.index_price_e8, params.source_time_ns, forwards, vols),
    )
    return "ok"


@operation("tick", Nothing)
def tick(gateway: Any, params: Nothing) -> str:
    """Let due work run."""
    submit(gateway, commands.record(CommandKind.TICK))
    return "ok"


class Lease(msgspec.Struct, kw_only=True):
    lease_id: int
    currency: str
    amount_minor: int = 0
    used_minor: int = 0
    exhausted: bool = False


def _currency_number(gateway: Any, currency: str) -> int:
    number = gateway.engine.currency_index(currency)
    if number < 0:
        raise AdminError("unknown_currency", f"no currency {currency!r}")
    return number


@operation("grant_lease", Lease)
def grant_lease(gateway: Any, params: Lease) -> str:
    """The fund's answer to a lease request."""
    submit(
        gateway,
        commands.record(
            CommandKind.GRANT_FUND_LEASE,
            lease_id=params.lease_id,
            amount_minor=params.amount_minor,
            currency=_currency_number(gateway, params.currency),
            exhausted=int(params.exhausted),
        ),
    )
    return "ok"


@operation("settle_lease", Lease)
def settle_lease(gateway: Any, params: Lease) -> str:
    """The fund's confirmation that a lease is closed."""
    submit(
        gateway,
        commands.record(
            CommandKind.SETTLE_FUND_LEASE,
            lease_id=params.lease_id,
            used_minor=params.used_minor,
            currency=_currency_number(gateway, params.currency),
        ),
    )
    return "ok"


@operation("status", Nothing)
def status(gateway: Any, params: Nothing) -> dict[str, Any]:
    """Where the venue stands."""
    engine, sequencer, server = gateway.engine, gateway.sequencer, gateway.server
    names = gateway.listings.index_names
    return {
        "seq": sequencer.seq,
        "durable_seq": sequencer.durable_seq,
        "time_ns": engine.time_ns,
        "stopped": str(gateway.failure) if gateway.failure is not None else None,
        "connections": server.connections,
        "connections_cut_slow": server.cut_slow,
        "connections_refused": server.refused,
        "marks_fresh": {name: bool(engine.marks_fresh(index)) for index, name in enumerate(names)},
        "counters": msgspec.to_builtins(engine.counters()),
    }


@operation("account", OfAccount)
def account(gateway: Any, params: OfAccount) -> dict[str, Any]:
    """An account with its summaries and positions."""
    account_id = params.account_id(gateway)
    view = msgspec.to_builtins(gateway.engine.account(account_id))
    return view | {"positions": gateway.positions(account_id), "summaries": gateway.summaries(account_id)}


@operation("ledger", Nothing)
def ledger(gateway: Any, params: Nothing) -> dict[str, Any]:
    """The clearing accounts of every currency, in coins."""
    found = {}
    for currency, exponent in gateway.listings.exponents.items():
        sums = gateway.engine.ledger(currency)
        found[currency] = {name: money(minor, exponent) for name, minor in sums.items()}
    return found


@operation("leases", Nothing)
def leases(gateway: Any, params: Nothing) -> list[Any]:
    """Leases on the insurance fund."""
    return [msgspec.to_builtins(view) for view in gateway.engine.leases()]


@operation("auctions", Nothing)
def auctions(gateway: Any, params: Nothing) -> list[Any]:
    """Running auctions."""
    return gateway.auctions()


@operation("audit", Nothing)
def audit(gateway: Any, params: Nothing) -> dict[str, Any]:
    """The full invariant audit and the state digest."""
    engine = gateway.engine
    return {"faults": engine.audit(), "digest": engine.state_digest().hex(), "seq": gateway.sequencer.seq}
