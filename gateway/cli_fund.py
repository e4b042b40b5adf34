"""`margrave fund`: books and history of the shared insurance fund, its cap on one default, whether a venue agrees."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from gateway import cli_redis
from gateway.admin import AdminClient
from gateway.cli_output import FAILED, MISUSED, fail, out, print_json
from gateway.reconcile import ATTEMPTS, Books, Report, audit, reconcile
from gateway.venue_core import ADMIN_SOCKET
from persistence.embedded_redis import socket_of
from persistence.errors import PersistenceError
from persistence.insurance_fund import AMOUNT_LIMIT_MINOR, InsuranceFund
from persistence.redis_access import RedisAccess

app = typer.Typer(no_args_is_help=True, help="The insurance fund, shared or a venue's own.")
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Data directory of a running venue with its own fund.")
]
AsJson = Annotated[bool, typer.Option("--json", help="The result as one JSON object.")]
OPERATOR = "operator"


def _reached(context: typer.Context) -> RedisAccess:
    """The server that the options name: --redis, or the embedded one of a data directory."""
    found = cli_redis.access(context.params)
    if found is not None:
        return found
    if context.params["data_dir"] is None:
        fail("--redis or --data-dir is needed", MISUSED)
    try:
        return RedisAccess(f"unix://{socket_of(context.params['data_dir'] / 'redis')}")
    except PersistenceError as error:
        fail(str(error), FAILED)


def _with_fund(access: RedisAccess, work: Callable[[InsuranceFund], Awaitable[Any]]) -> Any:
    """Run something with the fund, as nobody's worker."""

    async def connected() -> Any:
        async with await InsuranceFund.open(access, OPERATOR, 0, attach=False) as fund:
            return await work(fund)

    try:
        return asyncio.run(connected())
    except PersistenceError as error:
        fail(str(error), FAILED)


@app.command()
def state(
    context: typer.Context,
    data_dir: DataDir = None,
    redis: cli_redis.OwnUrl = None,
    redis_user: cli_redis.User = None,
    redis_password_file: cli_redis.PasswordFile = None,
    redis_ca: cli_redis.Ca = None,
    redis_certificate: cli_redis.Certificate = None,
    redis_key: cli_redis.Key = None,
    json: AsJson = False,
) -> None:
    """Balances, claims and open leases, checked against the history; status 1 where they disagree."""
    ledger = _with_fund(_reached(context), audit)
    result = {
        "currencies": {name: msgspec.to_builtins(purse) for name, purse in sorted(ledger.purses.items())},
        "leases": [
            {"venue": venue, "lease": lease, "currency": currency, "granted_minor": granted}
            for (venue, lease), (currency, granted) in sorted(ledger.leases.items())
        ],
        "entries": ledger.entries,
        "faults": ledger.faults,
    }
    _say(result, ledger.faults, json)


@app.command()
def history(
    context: typer.Context,
    after: Annotated[str, typer.Option(help="Id of the entry behind which to begin.")] = "-",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Entries at most.")] = 100,
    data_dir: DataDir = None,
    redis: cli_redis.OwnUrl = None,
    redis_user: cli_redis.User = None,
    redis_password_file: cli_redis.PasswordFile = None,
    redis_ca: cli_redis.Ca = None,
    redis_certificate: cli_redis.Certificate = None,
    redis_key: cli_redis.Key = None,
    json: AsJson = False,
) -> None:
    """Every operation in order, of every venue; go on with --after the last id shown."""

    async def read(fund: InsuranceFund) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async for one in fund.history(after):
            found.append(msgspec.to_builtins(one))
            if len(found) == limit:
                break
        return found

    entries = _with_fund(_reached(context), read)
    if json:
        print_json({"entries": entries})
        return
    for one in entries:
        what = f"{one['entry_id']}  {one['venue_id']}  {one['kind']:<8} {one['operation_id']:<16}"
        moved = f"{one['amount_minor']} -> {one['result_minor']} {one['currency']}"
        out.print(
            f"{what} {moved}, balance {one['balance_minor']}, free {one['free_minor']}",
            markup=False,
        )


@app.command()
def cap(
    context: typer.Context,
    currency: Annotated[str, typer.Argument(help="Currency of the fund.")],
    amount_minor: Annotated[int | None, typer.Argument(help="Minor units for one lease; none: no cap.")] = None,
    operation_id: Annotated[str | None, typer.Option("--id", help="To repeat it safely; random if left out.")] = None,
    data_dir: DataDir = None,
    redis: cli_redis.OwnUrl = None,
    redis_user: cli_redis.User = None,
    redis_password_file: cli_redis.PasswordFile = None,
    redis_ca: cli_redis.Ca = None,
    redis_certificate: cli_redis.Certificate = None,
    redis_key: cli_redis.Key = None,
    json: AsJson = False,
) -> None:
    """Set what one default of any venue may take of the fund at most."""
    amount = AMOUNT_LIMIT_MINOR if amount_minor is None else amount_minor
    chosen = operation_id or f"cap-{secrets.token_hex(8)}"
    _with_fund(_reached(context), lambda fund: fund.limit(chosen, currency, amount))
    if json:
        print_json({"currency": currency, "event_cap_minor": amount, "id": chosen})
    else:
        most = f"all of {currency}" if amount_minor is None else f"{amount:,} minor units of {currency}"
        out.print(f"one default takes at most {most}", markup=False)


@app.command(name="reconcile")
def reconcile_(
    context: typer.Context,
    admin: Annotated[Path | None, typer.Option(help="Administration socket of the venue, with --redis.")] = None,
    data_dir: DataDir = None,
    redis: cli_redis.OwnUrl = None,
    redis_user: cli_redis.User = None,
    redis_password_file: cli_redis.PasswordFile = None,
    redis_ca: cli_redis.Ca = None,
    redis_certificate: cli_redis.Certificate = None,
    redis_key: cli_redis.Key = None,
    json: AsJson = False,
) -> None:
    """Compare a running venue's ledger with the fund; status 1 where operations on their way do not explain it all."""
    access = _reached(context)
    if admin is None and data_dir is None:
        fail("--admin or --data-dir is needed", MISUSED)
    path = admin if admin is not None or data_dir is None else data_dir / ADMIN_SOCKET
    try:
        with AdminClient(path or Path()) as client:
            report: Report = _with_fund(access, lambda fund: _settled_report(client, fund))
    except OSError as error:
        fail(f"{path}: {error}", FAILED)
    _say(report.shown(), report.faults, json)


async def _settled_report(client: AdminClient, fund: InsuranceFund) -> Report:
    """Of a moment in which neither side moved, or the last attempt's."""
    for _ in range(ATTEMPTS):
        before = msgspec.convert(client.call("fund_books"), Books)
        report, last = await reconcile(fund, before)
        after = msgspec.convert(client.call("fund_books"), Books)
        if report.agrees or (before == after and not [one async for one in fund.history(after=last)]):
            break
        await asyncio.sleep(0.05)
    return report


def _say(result: dict[str, Any], faults: list[str], as_json: bool) -> None:
    if as_json:
        print_json(result)
    else:
        out.print_json(data=result)
    if faults:
        raise SystemExit(FAILED)
