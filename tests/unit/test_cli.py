"""The command line: help says what is there, bad usage ends with 2, configuration files, clock, journal print."""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from rich.markup import render

from exchange import commands, config
from exchange.commands import RECORD_VERSION, CommandKind
from exchange.engine import LOGIC_VERSION, Engine
from exchange.sequencer import Sequencer
from gateway.cli import app
from gateway.cli_verify import readable
from gateway.defaults import ConfigurationError, default_config, differences, load_setup
from gateway.population import leverage_bound
from gateway.venue_clock import MAX_LAG_NS, VenueClock
from gateway.venue_core import replay_into
from persistence.journal import Journal
from tests.serving import margrave


def test_help_names_every_command() -> None:
    done = margrave("--help")
    assert done.returncode == 0
    for name in (
        "serve",
        "liquidator",
        "verify",
        "journal",
        "account",
        "fund",
        "margin",
        "operator",
        "override",
        "bench",
        "scenario",
    ):
        assert f" {name} " in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("nothing",),
        ("serve", "--speed", "0"),
        ("serve", "--feed", "live"),
        ("serve", "--feed", "sim", "--chain", "chain.csv.gz"),
        ("serve", "--tls-key", "x.pem"),
        ("serve", "--redis", "http://x"),
        ("serve", "--redis-user", "u"),
        ("serve", "--redis", "redis://x", "--liquidator", "process"),
        ("serve", "--redis", "redis://x", "--redis-ca", "x.pem"),
        ("liquidator", "--admin", "x.sock"),
        ("liquidator", "--redis", "redis://x"),
        ("bench", "everything"),
        ("scenario", "everything"),
        ("account", "create"),
        ("margin", "explain"),
        ("account", "create", "x", "--data-dir", "/nonexistent"),
        ("journal", "/nonexistent"),
    ],
)
def test_bad_usage_ends_with_2(words: tuple[str, ...]) -> None:
    done = margrave(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr


def test_the_version_is_the_package_s() -> None:
    done = margrave("--version")
    assert (done.returncode, done.stdout) == (0, f"margrave {version('margrave')}\n")


def test_bench_runs_as_a_process_of_its_own_and_passes_its_status_on() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys, gateway.cli_bench; print('loadtest' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"


def test_defaults_can_start_an_engine_at_any_speed() -> None:
    for speed in (1.0, 600.0):
        wanted = default_config("venue", speed)
        engine = Engine()
        genesis = commands.cold(CommandKind.GENESIS, wanted)
        genesis[8:16] = (1).to_bytes(8, "little")
        engine.apply(genesis)
        assert differences(engine.config, wanted) == []
        assert all(one.mark_stale_ns >= speed * 2_000_000_000 for one in wanted.underlyings)


def test_a_file_overlays_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "venue.toml"
    file.write_text(
        'venue_id = "lab"\n[limits]\nmax_accounts = 5000\n[population]\naccounts = 3\n[fund]\nBTC = 7\n'
        "[sim]\njumps_per_year = 0.0\n"
    )
    setup = load_setup(file, "ignored")
    assert setup.config.venue_id == "lab"
    assert setup.config.limits == msgspec.structs.replace(default_config("lab").limits, max_accounts=5000)
    assert setup.config.currencies == default_config("lab").currencies
    assert setup.population.accounts == 3
    assert setup.fund == {"BTC": 7}
    assert setup.sim.jumps_per_year == 0.0
    changed = differences(default_config("lab"), setup.config)
    assert changed == ["limits.max_accounts: 1000000 -> 5000"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("limits = 3\n", "limits"),
        ("[limits]\nmax_acounts = 3\n", "max_acounts"),
        ("[liquidation]\nfee_ppm = 1000000\n", "fee below"),
        ("not toml", "line 1"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, what: str) -> None:
    file = tmp_path / "venue.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=what):
        load_setup(file, "venue")


def test_the_bound_on_leverage_follows_the_price_range() -> None:
    underlying = default_config("venue").underlyings[0]
    narrow = msgspec.structs.replace(
        underlying, matrix=msgspec.structs.replace(underlying.matrix, price_range_ppm=20_000)
    )
    assert 4.0 < leverage_bound(underlying) < 6.25
    assert 20.0 < leverage_bound(narrow) < 50.0


class Hand:
    """A monotonic clock turned by hand."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


def test_a_running_clock_is_monotone() -> None:
    hand = Hand()
    clock = VenueClock(1_000, 1.0, hand)
    hand.ns = 50
    assert clock() == 1_050
    hand.ns = 20
    assert clock() == 1_050
    clock.set(9_000)
    hand.ns = 60
    assert clock() == clock.target_ns() == 1_060


def test_a_fast_clock_moves_by_steps_and_slips_where_nobody_pumps() -> None:
    hand = Hand()
    clock = VenueClock(0, 600.0, hand)
    hand.ns = 1_000_000
    assert clock() == 0
    assert clock.target_ns() == 600_000_000
    clock.set(600_000_000)
    clock.set(5)
    assert clock() == 600_000_000
    hand.ns = 10_000_000_000
    limit = 600_000_000 + MAX_LAG_NS * 600
    assert clock.target_ns() == limit
    hand.ns += 1_000_000
    assert clock.target_ns() == limit  # still not stepped: no further
    clock.set(limit)
    hand.ns += 1_000_000
    assert clock.target_ns() == limit + 600_000_000


def test_replay_hands_out_events_from_a_seq_on(tmp_path: Path) -> None:
    with Journal(tmp_path, RECORD_VERSION, LOGIC_VERSION, 1, "os") as journal:
        sequencer = Sequencer(Engine(), journal, lambda: 1_000)
        sequencer.submit(commands.cold(CommandKind.GENESIS, default_config("venue")))
        live: dict[int, bytes] = {}
        sequencer.subscribe(live.__setitem__)
        for number in range(20):
            payload = config.CreateAccount(name=f"a{number}")
            sequencer.submit(commands.cold(CommandKind.CREATE_ACCOUNT, payload))
            if number % 5 == 4:
                sequencer.checkpoint()
                journal.sync()
        digest = sequencer.engine.state_digest()
    for start in (1, 8, 13, 99):
        engine, seen = Engine(), {}
        report = replay_into(engine, tmp_path, on_events=seen.__setitem__, events_from_seq=start)
        assert report.last_seq == 25
        assert engine.state_digest() == digest
        assert engine.take_events() == b""
        assert {seq: events for seq, events in seen.items() if seq > 1} == {
            seq: events for seq, events in live.items() if seq >= start
        }


def test_journal_prints_records(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal", RECORD_VERSION, LOGIC_VERSION, 1, "os") as journal:
        sequencer = Sequencer(Engine(), journal, lambda: 1_700_000_000_000_000_000)
        sequencer.submit(commands.cold(CommandKind.GENESIS, default_config("venue")))
        sequencer.submit(commands.record(CommandKind.TICK))
        order = commands.record(CommandKind.PLACE_ORDER, 3, b"my label", label_bytes=8, price_units=7, quantity_lots=9)
        sequencer.submit(order)
        journal.sync()
    done = margrave("journal", tmp_path, "--from", "2", "--json")
    found = json.loads(done.stdout)["records"]
    assert [one["kind"] for one in found] == ["TICK", "PLACE_ORDER"]
    assert found[1]["label"] == "my label"
    assert found[1] == readable(memoryview(order))
    text = margrave("journal", tmp_path, "--limit", "1").stdout
    assert "2023-11-14 22:13:20.000000000  GENESIS" in text


def test_tables_of_the_first_start_are_checked(tmp_path):
    file = tmp_path / "venue.toml"
    file.write_text("[fund]\nXRP = 5\n[population]\naccounts = -5\nleverage_min = 9.0\nleverage_max = 2.0\n")
    with pytest.raises(ConfigurationError, match=r"fund.XRP: no such currency.*population.accounts.*leverage_min"):
        load_setup(file, "venue")


def help_texts(command: Any, path: tuple[str, ...] = ("margrave",)) -> Iterator[tuple[str, str]]:
    """(where, text) of every help text of a command and those under it."""
    yield " ".join(path), command.help or ""
    for parameter in command.params:
        yield f"{' '.join(path)} {parameter.name}", getattr(parameter, "help", None) or ""
    for name, one in getattr(command, "commands", {}).items():
        yield from help_texts(one, (*path, name))


def test_help_shows_what_it_says() -> None:
    texts = dict(help_texts(typer.main.get_command(app)))
    assert len(texts) > 100
    # words in square brackets are markup to the terminal and would not be seen
    assert [where for where, text in texts.items() if render(text).plain != text] == []
