"""Margin rates that follow volatility, over a real `kill -9`: the averages go on where they were, announcements follow
from the journaled marks, and `margrave verify` finds one that does not."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from exchange import commands
from exchange.commands import CommandKind
from exchange.engine import Engine
from exchange.governance import AnnounceMargin
from gateway.adaptive_replay import AdaptiveReplay
from gateway.cli_verify import check
from gateway.status import Status
from gateway.venue_core import records_of, replay_into
from persistence.journal import Journal
from persistence.journal_reader import list_segments, read_batches
from tests.serving import Served, margrave, small_config

pytestmark = pytest.mark.redis
TERMS = """checkpoint_every = 100
[governance]
margin_notice_ns = 3_600_000_000_000
[[governance.adaptive]]
underlying = "BTC"
sample_ns = 1_000_000_000
decay_ppm = 900_000
multiple_ppm = 9_000_000
"""
WAIT_SECONDS = 60


def shown(venue: Served) -> dict[str, Any]:
    """What is public about BTC's rates."""
    (found,) = (one for one in venue.call("public/get_margin_parameters")["underlyings"] if one["underlying"] == "BTC")
    return found


def until(venue: Served, enough: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + WAIT_SECONDS
    while not enough(found := shown(venue)):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def read_back(data_dir: Path) -> tuple[dict[str, Any], AdaptiveReplay]:
    """The figures that follow from the journal alone."""
    engine = Engine()
    follow = AdaptiveReplay(engine)
    replay_into(engine, data_dir / "journal", follow=follow)
    return follow.margins.figures(0), follow


def forged(source: Path, target: Path, change: Callable[[bytearray], list[bytearray]]) -> None:
    """The journal with some commands changed and everything that proves it made anew: sequence, checksums, chain."""
    (target / "journal").mkdir(parents=True)
    segment, engine = list_segments(source / "journal")[0], Engine()
    with Journal(target / "journal", segment.record_version, segment.logic_version, 9, "os") as journal:
        for _, _, slots in read_batches(source / "journal"):
            for view in records_of(slots):
                for record in change(bytearray(view)):
                    if int.from_bytes(record[:2], "little") == CommandKind.CHECKPOINT:
                        fields = np.frombuffer(record, dtype=commands.CHECKPOINT, count=1)[0]
                        fields["chain_sha256"], fields["event_count"] = engine.event_chain()
                    record[8:16] = (int(engine.seq) + 1).to_bytes(8, "little")
                    record[16:24] = view[16:24]
                    journal.append(record)
                    engine.apply(record)
                    engine.take_events()
            journal.sync()


def announcement(record: bytearray) -> AnnounceMargin | None:
    if int.from_bytes(record[:2], "little") != CommandKind.ANNOUNCE_MARGIN:
        return None
    return msgspec.msgpack.decode(commands.payload(record), type=AnnounceMargin)


def again(said: AnnounceMargin, **changes: int) -> bytearray:
    made = commands.cold(CommandKind.ANNOUNCE_MARGIN, msgspec.structs.replace(said, **changes))
    return commands.by(commands.Actor.FEED, made)


def test_averages_go_on_over_a_kill_and_verify_finds_what_does_not_follow(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    words = (data_dir, "--config", small_config(tmp_path / "venue.toml", TERMS))
    with Served(*words) as venue:
        before = until(venue, lambda one: one["announced_margin"] is not None and one["adaptive"]["samples"] >= 2)
        # just after a sample, so that none comes between this answer and the kill
        count = before["adaptive"]["samples"]
        before = until(venue, lambda one: one["adaptive"]["samples"] > count)
        venue.kill()
    at_death, _ = read_back(data_dir)
    assert before["adaptive"]["samples"] <= at_death["samples"] <= before["adaptive"]["samples"] + 1
    if at_death["samples"] == before["adaptive"]["samples"]:
        assert at_death == before["adaptive"]  # to the last bit
    with Served(*words) as venue:
        after = until(venue, lambda one: one["adaptive"]["samples"] > at_death["samples"])
        venue.kill()
    assert after["adaptive"]["samples"] <= at_death["samples"] + 2
    # what was shown after the restart is what all of the journal says at its end, unless a sample came since
    at_end, follow = read_back(data_dir)
    assert at_end["samples"] >= after["adaptive"]["samples"]
    if at_end["samples"] == after["adaptive"]["samples"]:
        assert at_end == after["adaptive"]
    # no second announcement for the asking: the first still waits
    assert after["announced_margin"] == before["announced_margin"] and after["announced_margin"]["scale"] > 1
    done = margrave("verify", data_dir, "--json")
    findings = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert findings["adaptive_announcements"] == follow.checked >= 1 and findings["adaptive_missed"] == 0
    for what in ("nothing", "scale", "notice", "twice"):
        tampered(data_dir, tmp_path / what, what)


def tampered(source: Path, target: Path, what: str) -> None:
    """A forgery whose chain and checksums are right is found by what the marks ask for."""
    seqs: list[int] = []

    def change(record: bytearray) -> list[bytearray]:
        said = announcement(record)
        if said is None or seqs or what == "nothing":
            return [record]
        seqs.append(int.from_bytes(record[8:16], "little"))
        if what == "scale":
            return [again(said, scale_ppm=said.scale_ppm + 10_000)]
        if what == "notice":
            return [again(said, effective_ns=1 << 61)]
        return [record, again(said, scale_ppm=said.scale_ppm + 10_000)]

    forged(source, target, change)
    findings, wrong = check(target, Status())
    assert findings["checkpoints"] >= 1 and findings["conserved"]
    if what == "nothing":  # the forgery itself is sound
        assert wrong is None
        return
    assert findings["failed_seq"] == seqs[0] + (what == "twice")
    assert "margin of BTC announced at" in wrong, wrong
