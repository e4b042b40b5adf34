"""Auctions, leases and who paid, of the engine beside the naive venue: differences in words."""

from collections.abc import Iterator

from exchange.engine import Engine
from tests.oracles.defaulting import Defaulting
from tests.oracles.leasing import AWAITED, OVER, SHORT, WHOLE

ANSWERS = {AWAITED: "requested", WHOLE: "granted", SHORT: "exhausted", OVER: "settling"}


def auction_faults(engine: Engine, defaulting: Defaulting) -> Iterator[str]:
    names = [c.name for c in defaulting.state.config.currencies]
    got = [
        (
            a.auction_id, a.account_id, a.currency, a.phase, a.reason, a.phase_ns, a.value_minor, a.requirement_minor,
            a.price_minor, a.bids, a.lease_id, a.terms_version,
        )
        for a in engine.auctions()
    ]  # fmt: skip
    house = defaulting.auctions
    want = [
        (
            a.number, a.account.account_id, names[a.currency], a.phase, a.reason, a.clock,
            house.minor(a, house.value(a)), house.minor(a, house.need(a)), house.minor(a, house.price(a)), len(a.bids),
            a.lease.number if a.lease else 0, a.version,
        )
        for _, a in sorted(house.running.items())
    ]  # fmt: skip
    if got != want:
        yield f"auctions {got}, naive {want}"


def lease_faults(engine: Engine, defaulting: Defaulting) -> Iterator[str]:
    names = [c.name for c in defaulting.state.config.currencies]
    got = [
        (
            v.lease_id, v.auction_id, v.currency, v.requested_minor, v.granted_minor, v.used_minor, v.capital_minor,
            v.state,
        )
        for v in engine.leases()
    ]  # fmt: skip
    want = [
        (v.number, v.auction_id, names[v.currency], v.asked, v.given, v.used, v.capital, ANSWERS[v.answer])
        for _, v in sorted(defaulting.leasing.live.items())
    ]
    if got != want:
        yield f"leases {got}, naive {want}"
    paid = {c: sums for c, sums in engine.liquidation.house.leases.covered.items() if any(sums)}
    if paid != defaulting.leasing.paid:
        yield f"paid for defaults {paid}, naive {defaulting.leasing.paid}"


def default_faults(engine: Engine, defaulting: Defaulting) -> list[str]:
    """Everything that is kept of defaults, and who is in liquidation."""
    faults = [*auction_faults(engine, defaulting), *lease_faults(engine, defaulting)]
    for number, account in defaulting.state.accounts.items():
        if bool(engine.desk.in_liquidation(number)) != account.in_liquidation:
            faults.append(f"account {number} in liquidation: naive {account.in_liquidation}")
    return faults
