"""All house bots in one process: `python -m loadtest.bots --url ws://HOST:PORT/ws/api/v2 --keys env:NAME`."""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from loadtest.bots.client import Client, Disconnected, Refused, VenueGone
from loadtest.bots.liquidator import Liquidator
from loadtest.bots.maker import Maker, MakerSettings
from loadtest.bots.taker import Taker, TakerSettings

log = logging.getLogger("loadtest.bots")

DEFAULT_KEYS = "env:MARGRAVE_BOT_KEYS"
ROLES = ("maker", "taker", "liquidator")
Bot = Maker | Taker | Liquidator


class Key(msgspec.Struct):
    """One login; `name` begins with the role it is for."""

    name: str
    client_id: str
    client_secret: str


def read_keys(source: str) -> list[Key]:
    """Keys as JSON, a list of {name, client_id, client_secret} or an object with such a list as `keys`.

    `source`: `env:NAME`, `-` (standard input) or a file. Raises ValueError naming what is wrong.
    """
    if source.startswith("env:"):
        text = os.environ.get(source[4:], "")
        if not text:
            raise ValueError(f"environment variable {source[4:]} holds no keys")
    elif source == "-":
        text = sys.stdin.read()
    else:
        text = Path(source).read_text()
    try:
        found = json.loads(text)
        return msgspec.convert(found["keys"] if isinstance(found, dict) else found, list[Key])
    except (json.JSONDecodeError, KeyError, msgspec.ValidationError) as error:
        raise ValueError(f"the keys in {source} are no list of keys: {error}") from None


def logins(keys: list[Key], role: str, count: int) -> list[Key]:
    """`count` logins of a role. Makers and liquidators cancel all orders of their account, so each needs a
    key of its own; takers share. Raises ValueError where there are too few."""
    mine = [key for key in keys if key.name.startswith(role)]
    if count and not mine:
        raise ValueError(f"no key whose name begins with {role!r}")
    if role != "taker" and count > len(mine):
        raise ValueError(f"{count} {role}s need {count} keys, there are {len(mine)}")
    return [mine[index % len(mine)] for index in range(count)]


def build(options: argparse.Namespace, keys: list[Key]) -> list[tuple[str, Client, Bot]]:
    """(name, client, bot) of everything that was asked for."""
    found: list[tuple[str, Client, Bot]] = []
    counts = {"maker": options.makers, "taker": options.takers, "liquidator": options.liquidators}
    for role in ROLES:
        for index, key in enumerate(logins(keys, role, counts[role])):
            seed = options.seed * 1_000 + ROLES.index(role) * 100 + index
            client = Client(
                options.url,
                key.client_id,
                key.client_secret,
                seed=seed,
                give_up_s=options.give_up,
            )
            bot: Bot
            if role == "maker":
                bot = Maker(client, MakerSettings(orders_per_second=options.order_rate))
            elif role == "taker":
                bot = Taker(client, seed, TakerSettings(rate_per_second=options.take_rate))
            else:
                bot = Liquidator(client)
            found.append((f"{role}{index + 1}", client, bot))
    return found


def progress(bots: list[tuple[str, Client, Bot]], started_s: float) -> str:
    """One line of JSON: what every bot has done so far."""
    lines: dict[str, Any] = {"seconds": round(time.monotonic() - started_s, 1)}
    for name, client, bot in bots:
        account = bot.account
        lines[name] = {
            "connected": client.ready.is_set(),
            "connections": client.connections,
            "calls": client.calls,
            "refusals": client.refusals,
            "notices": client.notices,
            "equity_usd": round(account.funds.equity_usd),
            "positions": len(account.holdings),
            **dict(sorted(bot.counts.items())),
        }
        if isinstance(bot, Maker):
            lines[name]["quoted"] = len(bot.desks)
            lines[name]["resting"] = sum(len(desk.resting) for desk in bot.desks.values())
    return json.dumps(lines, separators=(",", ":"))


async def _report(bots: list[tuple[str, Client, Bot]], every_s: float) -> None:
    started_s = time.monotonic()
    while True:
        await asyncio.sleep(every_s)
        print(progress(bots, started_s), file=sys.stderr, flush=True)


async def _withdraw(bots: list[tuple[str, Client, Bot]]) -> None:
    """Take the orders out of the book before leaving; cancel-on-disconnect covers what fails here."""
    for name, client, _ in bots:
        if client.ready.is_set():
            try:
                async with asyncio.timeout(2):
                    await client.call("private/cancel_all")
            except (Disconnected, Refused, TimeoutError) as error:
                log.info("%s: %s", name, error)
        client.close()


async def run_bots(bots: list[tuple[str, Client, Bot]], stop: asyncio.Event, report_s: float) -> None:
    """Run until `stop`. Raises VenueGone (the venue is gone for good) or Refused (a login was refused)."""
    tasks = [asyncio.ensure_future(client.run()) for _, client, _ in bots]
    tasks += [asyncio.ensure_future(bot.run()) for _, _, bot in bots]
    tasks.append(asyncio.ensure_future(_report(bots, report_s)))
    stopped = asyncio.ensure_future(stop.wait())
    done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
    await _withdraw(bots)
    for task in [*tasks, stopped]:
        task.cancel()
    await asyncio.gather(*tasks, stopped, return_exceptions=True)
    for task in done:
        if task is not stopped:
            task.result()


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.bots", description="Run the house bots.")
    parser.add_argument("--url", required=True, help="WebSocket address of the venue, ws://HOST:PORT/ws/api/v2")
    parser.add_argument(
        "--keys", default=DEFAULT_KEYS, help="FILE, - (standard input) or env:NAME; default %(default)s"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--makers", type=int, default=1)
    parser.add_argument("--takers", type=int, default=1)
    parser.add_argument("--liquidators", type=int, default=1)
    parser.add_argument("--order-rate", type=float, default=200.0, help="orders per second of a maker, at most")
    parser.add_argument("--take-rate", type=float, default=4.0, help="orders per second of a taker, on average")
    parser.add_argument("--give-up", type=float, default=20.0, help="seconds without a venue before giving up")
    parser.add_argument("--report", type=float, default=5.0, help="seconds between lines of progress")
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args(arguments)


async def _main(options: argparse.Namespace, keys: list[Key]) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await run_bots(build(options, keys), stop, options.report)
    except VenueGone as gone:
        log.warning("the venue at %s is gone", gone)
        return 1
    except Refused as refused:
        log.error("login refused: %s", refused)
        return 1
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 stopped by a signal, 1 venue gone or login refused, 2 bad usage."""
    options = parse(arguments)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if options.verbose else logging.WARNING,
        format="%(name)s: %(message)s",
    )
    try:
        keys = read_keys(options.keys)
        for role in ROLES:
            logins(keys, role, getattr(options, role + "s"))
    except (OSError, ValueError) as error:
        print(f"loadtest.bots: {error}", file=sys.stderr)
        return 2
    return uvloop.run(_main(options, keys))
