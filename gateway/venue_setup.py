"""What a venue starts with: its options, its record on disk, the commands of a first start, the checks of a restart."""

import ipaddress
import secrets
import ssl
import time
from pathlib import Path

import msgspec

from exchange.commands import CommandKind
from gateway import population
from gateway.credentials import KEY_NAME, STORE_NAME, CredentialStore
from gateway.defaults import ConfigurationError, Setup, differences
from gateway.feeds import Feed
from gateway.venue_core import (
    Core,
    FeedRecord,
    Progress,
    VenueError,
    VenueRecord,
    read_venue_record,
    write_venue_record,
)
from gateway.venue_feed import Pump, sim_record
from persistence.data_dir import DataDirectory
from persistence.redis_access import RedisAccess

MARKS_APART_NS = 500_000_000
"""Real time between marks, at most; twice what feeds take."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What `margrave serve` was told. None: not given (a restart takes what the data directory says)."""

    config: Path | None = None
    data_dir: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    feed: str | None = None
    chain: str | None = None
    snapshot: str | None = None
    index: tuple[str, ...] = ()
    speed: float | None = None
    seed: int | None = None
    bots: bool = False
    redis: RedisAccess | None = None
    liquidator: str = "task"
    """Where the fund worker runs: a task here, or a process that attaches (`margrave liquidator`)."""
    durability: str = "fsync"
    rate_limits: str = "off"
    tls: ssl.SSLContext | None = None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def find_record(directory: DataDirectory, options: Options) -> tuple[VenueRecord, bool]:
    """The directory's record, and whether this is a first start (or one that did not get to its end)."""
    record = read_venue_record(directory.path)
    has_journal = any(directory.journal.glob("*.seg"))
    if record is None and has_journal:
        raise VenueError(f"{directory.path} holds a journal but no venue.json: it was not made by `serve`")
    if record is not None and record.populated:
        _check_feed(directory.path, record.feed, options)
        return record, False
    # No client has been answered from what an interrupted first start left behind.
    for path in [*directory.journal.glob("*.seg"), *(directory.path / n for n in (STORE_NAME, KEY_NAME))]:
        path.unlink(missing_ok=True)
    feed = FeedRecord(
        kind=options.feed or ("replay" if options.chain else "sim"),
        start_time_ns=time.time_ns(),
        seed=options.seed if options.seed is not None else 1,
        speed=options.speed or 1.0,
        chain=str(Path(options.chain).absolute()) if options.chain else None,
        snapshot=options.snapshot,
        index=tuple(map(_absolute, options.index)),
    )
    record = VenueRecord(venue_id=f"margrave-{secrets.token_hex(4)}", feed=feed)
    write_venue_record(directory.path, record)
    return record, True


def complete_record(record: VenueRecord, setup: Setup) -> VenueRecord:
    """A first start's record with what the configuration decides."""
    feed = record.feed
    if feed.kind == "sim":
        feed = sim_record(feed.start_time_ns, feed.seed, feed.speed, setup.sim)
    feed = msgspec.structs.replace(feed, rules=setup.rules, composer=setup.index)
    return msgspec.structs.replace(record, venue_id=setup.config.venue_id, feed=feed)


def _check_feed(root: Path, known: FeedRecord, options: Options) -> None:
    """A restart goes on with its feed; asking for another one is an error."""
    wanted = {
        "--feed": (options.feed, known.kind),
        "--seed": (options.seed, known.seed),
        "--chain": (str(Path(options.chain).absolute()) if options.chain else None, known.chain),
        "--snapshot": (options.snapshot, known.snapshot),
        "--index": (tuple(map(_absolute, options.index)) or None, known.index),
    }
    for name, (asked, stored) in wanted.items():
        if asked is not None and asked != stored:
            raise VenueError(
                f"{root} was started with {name} {stored}, not {asked}: leave the option out, or "
                "choose another data directory"
            )


def first_start(core: Core, pump: Pump, feed: Feed, setup: Setup, seed: int, progress: Progress) -> None:
    """Genesis, listing, first marks, house, fund, population; every bit of it commands."""
    core.genesis(setup.config)
    pump.list_instruments(feed.instruments())
    for update in feed.snapshot():
        pump.publish(update)
    house = population.create_house(core)
    population.endow_fund(core, setup.fund)
    population.endow_fund(core, setup.capital, CommandKind.ENDOW_CAPITAL)
    population.Populator(core, house[population.HOUSE], setup.population, seed).run(progress)


def create_keys(core: Core, credentials: CredentialStore, with_demo: bool) -> None:
    """Keys of the house accounts; the demo key is for loopback only."""
    for name in population.KEYED:
        if name != "demo" or with_demo:
            credentials.create(core.engine.account_id(name), name, demo=name == "demo")


def check_unchanged(core: Core, setup: Setup, options: Options, speed: float) -> None:
    """The journal's configuration stands: a file or a speed that does not go with it is refused."""
    stale_ns = min(underlying.mark_stale_ns for underlying in core.engine.config.underlyings)
    if speed * MARKS_APART_NS > stale_ns:
        raise VenueError(
            f"at --speed {speed:g} marks would be stale before the next ones: this venue was started for at most "
            f"--speed {stale_ns / MARKS_APART_NS:g}"
        )
    changed = differences(core.engine.config, setup.config) if options.config is not None else []
    if changed:
        raise ConfigurationError(
            f"{options.config} differs from what this venue was started with: {'; '.join(changed[:5])}. "
            "Take the changes back, or start another data directory"
        )


def _absolute(word: str) -> str:
    """`FILE` or `UNDERLYING=FILE` with an absolute path."""
    name, sign, file = word.partition("=")
    if sign and "/" not in name:
        return f"{name}={Path(file).absolute()}"
    return str(Path(word).absolute())
