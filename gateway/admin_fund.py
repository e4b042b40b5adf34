"""Administration of what pays for defaults: the venue's capital and its claim on the insurance fund."""

from typing import Any

import msgspec

from exchange.commands import CommandKind
from gateway.admin_accounts import FundMoney, transfer
from gateway.admin_operations import AdminError, Nothing, operation
from gateway.fund_desk import ATTACHMENTS, LocalDesk, grant_record, settled_record
from gateway.units import money

PAGE = 64
"""Operations that a worker in another process gets at once."""
MOST_WAITING = 10_000
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


@operation("fund_books", Nothing)
def fund_books(gateway: Any, params: Nothing) -> dict[str, Any]:
    """The venue's side of the fund at this moment: claims, leases, operations not confirmed yet (at most 10,000)."""
    desk: LocalDesk | None = gateway.fund_books
    if desk is None:
        raise AdminError("not_running", "only a running venue has books to compare")
    return {
        "venue_id": desk.venue_id,
        "currencies": desk.currencies,
        "claims": desk.claims_now(),
        "leases": [msgspec.to_builtins(view) for view in gateway.engine.leases()],
        "waiting": [msgspec.to_builtins(one) for one in desk.queue.waiting(MOST_WAITING)],
    }


# a fund worker in a process of its own


class Attached(msgspec.Struct, kw_only=True):
    """What a worker was told when it attached; a later one supersedes it."""

    attachment: int

    def desk(self, gateway: Any) -> LocalDesk:
        """The venue's desk, for its newest worker only."""
        desk = _desk(gateway)
        if self.attachment != desk.attachment:
            raise AdminError("superseded", "another fund worker has attached since")
        return desk


class NextOperations(Attached, kw_only=True):
    most: int = 1


class DoneOperation(Attached, kw_only=True):
    seq: int
    place: int


class GrantedLease(Attached, kw_only=True):
    lease_id: int
    currency: int
    amount_minor: int
    exhausted: bool = False


class SettledLease(Attached, kw_only=True):
    lease_id: int
    currency: int
    used_minor: int


def _desk(gateway: Any) -> LocalDesk:
    desk: LocalDesk | None = gateway.fund_desk
    if desk is None:
        raise AdminError("own_worker", "this venue works with the fund itself: start it with --liquidator process")
    return desk


@operation("fund_attach", Nothing)
def fund_attach(gateway: Any, params: Nothing) -> dict[str, Any]:
    """Become the venue's fund worker; the one before is superseded here and fenced at the fund."""
    desk = _desk(gateway)
    if desk.attachment + 1 >= ATTACHMENTS:
        raise AdminError("too_many_workers", "restart the venue")
    desk.attachment += 1
    return {
        "attachment": desk.attachment,
        "venue_id": desk.venue_id,
        "epoch": desk.epoch,
        "currencies": desk.currencies,
    }


@operation("fund_next", NextOperations)
def fund_next(gateway: Any, params: NextOperations) -> list[dict[str, Any]]:
    """The fund worker's oldest operations, at most 64."""
    return [msgspec.to_builtins(one) for one in params.desk(gateway).ready(max(1, min(params.most, PAGE)))]


@operation("fund_done", DoneOperation)
def fund_done(gateway: Any, params: DoneOperation) -> str:
    """The fund worker has done its oldest operation; again is no harm."""
    try:
        params.desk(gateway).finish(params.seq, params.place)
    except ValueError as error:
        raise AdminError("bad_request", str(error)) from None
    return "ok"


@operation("fund_leases", Attached)
def fund_leases(gateway: Any, params: Attached) -> list[dict[str, Any]]:
    """The engine's leases, for the fund worker."""
    params.desk(gateway)
    return [msgspec.to_builtins(view) for view in gateway.engine.leases()]


@operation("fund_claims", Attached)
def fund_claims(gateway: Any, params: Attached) -> list[int]:
    """The ledger's claim on the fund by currency number, minor units, for the fund worker."""
    return params.desk(gateway).claims_now()


@operation("fund_grant", GrantedLease)
def fund_grant(gateway: Any, params: GrantedLease) -> str:
    """The fund worker's answer to a lease request: so much is held in all."""
    record = grant_record(params.lease_id, params.currency, params.amount_minor, params.exhausted)
    return _told(params.desk(gateway), record)


@operation("fund_settled", SettledLease)
def fund_settled(gateway: Any, params: SettledLease) -> str:
    """The fund worker's confirmation that a lease is closed."""
    return _told(params.desk(gateway), settled_record(params.lease_id, params.currency, params.used_minor))


def _told(desk: LocalDesk, record: bytearray) -> str:
    """An answer that the engine refuses is one that came late or twice: nothing to be done about it."""
    if not desk.tell(record):
        raise AdminError("journal_full", "the journal is full or the venue is stopping; try again")
    return "ok"
