"""`margrave liquidator`: the fund worker as a process of its own."""

import asyncio
import contextlib
import logging
import signal
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from gateway import cli_redis, fund_remote
from gateway.admin_operations import AdminError
from gateway.cli_output import FAILED, MISUSED, fail, out, print_json
from persistence.insurance_fund import FundFenced
from persistence.redis_access import RedisAccess


def liquidator(
    context: typer.Context,
    admin: Annotated[Path, typer.Option(help="Administration socket of the venue (admin.sock in its data directory).")],
    redis: cli_redis.Url,
    redis_user: cli_redis.User = None,
    redis_password_file: cli_redis.PasswordFile = None,
    redis_ca: cli_redis.Ca = None,
    redis_certificate: cli_redis.Certificate = None,
    redis_key: cli_redis.Key = None,
    json: Annotated[
        bool, typer.Option("--json", help="A line of JSON at every attachment, nothing else there.")
    ] = False,
) -> None:
    """Work with the insurance fund for a venue started with `serve --liquidator process`, until interrupted.

    It waits while venue or fund are away, and ends with status 1 when another one has attached since.
    """
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    access = cli_redis.access(context.params)
    if access is None:
        fail("--redis is needed", MISUSED)
    try:
        uvloop.run(_run(admin, access, json))
    except AdminError as error:
        fail(f"the venue refuses: {error}", FAILED)
    except FundFenced as error:
        fail(f"another fund worker acts for this venue: {error}", FAILED)
    except ValueError as error:
        fail(str(error), MISUSED)


async def _run(admin: Path, access: RedisAccess, as_json: bool) -> None:
    def attached(desk: fund_remote.RemoteDesk) -> None:
        if as_json:
            print_json({"venue_id": desk.venue_id, "epoch": desk.epoch, "fund": access.shown})
        else:
            out.print(f"works for {desk.venue_id} (epoch {desk.epoch}) with the fund at {access.shown}", markup=False)

    work = asyncio.ensure_future(fund_remote.run(admin, access, attached))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, work.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await work
