"""`margrave serve`."""

import asyncio
import errno
import logging
import os
import shutil
import signal
import ssl
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import uvloop
from rich.markup import escape

from gateway import cli_redis
from gateway.cli_output import FAILED, MISUSED, err, fail, out, print_json
from gateway.credentials import CredentialError
from gateway.defaults import ConfigurationError
from gateway.gateway import Insecure
from gateway.status import Status
from gateway.venue import Venue
from gateway.venue_core import InvariantBroken, Refused, VenueError
from gateway.venue_setup import Options, is_loopback
from persistence.errors import DataDirectoryError, JournalError, PersistenceError

KEYS_HELP = (
    "make keys with `margrave account create NAME --data-dir DIR`, revoke the demo key with "
    "`margrave account revoke CLIENT_ID --data-dir DIR` (`margrave account keys` lists them)"
)


def serve(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="TOML: engine parameters, population, fund, sim.")] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Journal, keys and fund of the venue; a fresh temporary one if left out."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; off loopback needs TLS and no demo key.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8080,
    feed: Annotated[Literal["sim", "replay"] | None, typer.Option(help="Source of marks; sim if left out.")] = None,
    chain: Annotated[str | None, typer.Option(help="Replay: option chain, CSV (.gz) or Parquet.")] = None,
    snapshot: Annotated[str | None, typer.Option(help="Replay: which snapshot of the chain file.")] = None,
    index: Annotated[
        list[str] | None,
        typer.Option(help="Replay: FILE or UNDERLYING=FILE of klines or trades; repeatable."),
    ] = None,
    speed: Annotated[float | None, typer.Option(min=0.01, max=10_000, help="Venue seconds per second.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the simulation and the population.")] = None,
    bots: Annotated[bool, typer.Option(help="Run market maker, taker and liquidator beside the venue.")] = False,
    redis: cli_redis.OwnUrl = None,
    redis_user: cli_redis.User = None,
    redis_password_file: cli_redis.PasswordFile = None,
    redis_ca: cli_redis.Ca = None,
    redis_certificate: cli_redis.Certificate = None,
    redis_key: cli_redis.Key = None,
    liquidator: Annotated[
        Literal["task", "process"], typer.Option(help="process: `margrave liquidator` works with the fund instead.")
    ] = "task",
    durability: Annotated[
        Literal["fsync", "os"], typer.Option(help="os: survive a crash of the venue, not of the machine.")
    ] = "fsync",
    rate_limits: Annotated[Literal["off", "deribit"], typer.Option(help="Rate limits of clients.")] = "off",
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM certificate chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM key of the certificate.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One line of JSON when ready, nothing else there.")] = False,
) -> None:
    """Run a venue until interrupted. On a data directory with a journal it goes on where that ends."""
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    options = _options(context.params)
    raise SystemExit(uvloop.run(_serve(options, json)))


def _options(given: dict[str, Any]) -> Options:
    """What was given, or the end of the command where it makes no sense."""
    host, feed = given["host"], given["feed"]
    tls = _tls(given["tls_certificate"], given["tls_key"])
    if not is_loopback(host) and tls is None:
        fail(
            f"listening on {host} needs --tls-certificate and --tls-key: only loopback may go without; and no "
            f"demo key may exist there: {KEYS_HELP}",
            MISUSED,
        )
    if feed == "sim" and (given["chain"] or given["snapshot"] or given["index"]):
        fail("--chain, --snapshot and --index are of --feed replay", MISUSED)
    redis = cli_redis.access(given)
    if redis is not None and given["liquidator"] == "process":
        fail("with --liquidator process the fund's server is named to `margrave liquidator`, not here", MISUSED)
    plain = {name: given[name] for name in Options.__struct_fields__ if name not in ("redis", "tls", "index")}
    return Options(**plain, redis=redis, tls=tls, index=tuple(given["index"] or ()))


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        fail("--tls-certificate and --tls-key go together", MISUSED)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        fail(f"the TLS certificate cannot be used: {error}", MISUSED)
    return context


async def _serve(options: Options, as_json: bool) -> int:
    status = Status()
    venue = Venue(options, status)
    if venue.temporary:
        err.print(f"no --data-dir: using the fresh directory {escape(str(venue.root))}")
    try:
        await venue.start()
    except Insecure as error:
        return _refused(status, f"{error}; {KEYS_HELP}", MISUSED, venue)
    except (VenueError, ConfigurationError, DataDirectoryError, CredentialError, Refused) as error:
        return _refused(status, str(error), MISUSED, venue)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"port {options.port} of {options.host} is in use: --port 0 takes any free one"
            return _refused(status, message, MISUSED, venue)
        return _refused(status, str(error), FAILED)
    except (PersistenceError, InvariantBroken, ValueError) as error:
        return _refused(status, str(error), FAILED)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, venue.stopping.set)
    try:
        _announce(venue, status, as_json)
        await venue.run()
    finally:
        status.progress("stopping: checkpoint and sync")
        await venue.stop()
        status.end()
        if not as_json:
            err.print(f"stopped; `margrave serve --data-dir {escape(str(venue.root))}` goes on where this ends")
    if venue.failure is not None:
        kind = "the journal failed" if isinstance(venue.failure, JournalError) else "the venue stopped itself"
        return _refused(status, f"{kind}: {venue.failure}", FAILED)
    return 0


def _refused(status: Status, message: str, code: int, venue: Venue | None = None) -> int:
    status.end()
    if venue is not None and venue.temporary:
        shutil.rmtree(venue.root, ignore_errors=True)  # nothing was traded there
    err.print(f"[red]margrave:[/red] {escape(message)}")
    return code


def _announce(venue: Venue, status: Status, as_json: bool) -> None:
    """Say that the venue answers now, where, and with which keys."""
    status.end()
    if as_json:
        print_json(
            {
                "ws": venue.ws,
                "http": venue.http,
                "data_dir": str(venue.root.absolute()),
                "keys": venue.keys,
                "pid": os.getpid(),
            }
        )
        return
    counters = venue.engine.counters()
    out.print(f"[bold]Margrave[/bold] is open: {counters.instruments:,} instruments, {counters.accounts:,} accounts")
    out.print(f"  WebSocket  {venue.ws}")
    out.print(f"  HTTP       {venue.http}/api/v2")
    out.print(f"  ccxt       urls: {{'api': {{'rest': '{venue.http}'}}}}", markup=False)
    if venue.core is not None and venue.core.replayed:
        out.print(f"  replayed   {venue.core.replayed:,} commands")
    out.print(f"  data       {escape(str(venue.root.absolute()))}" + (" (temporary)" if venue.temporary else ""))
    demo = next((key for key in venue.keys if key["name"] == "demo"), None)
    if demo is not None:
        out.print(f"  demo key   client_id {demo['client_id']}  client_secret {demo['client_secret']}")
    else:
        out.print(f"  keys       {escape(KEYS_HELP)}")
