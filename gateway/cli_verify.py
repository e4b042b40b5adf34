"""`margrave verify` and `margrave journal`: reading a journal, also beside a running venue."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import typer
from rich.markup import escape

from exchange.commands import FIRST_COLD, LAYOUTS, SLOT_BYTES, CommandKind, payload
from exchange.engine import Engine, InvariantBroken
from exchange.invariants import conserved
from gateway.adaptive_replay import AdaptiveReplay
from gateway.cli_output import FAILED, MISUSED, err, fail, out, print_json
from gateway.status import Status
from gateway.venue_core import records_of, replay_into
from persistence.errors import JournalCorrupt, JournalError
from persistence.journal_reader import read_batches

_HIDDEN = {"kind", "slots", "account_id", "seq", "time_ns", "reserved", "reserved0", "reserved1"}


def journal_directory(data_dir: Path) -> Path:
    """The journal of a data directory; bad usage where there is none."""
    directory = data_dir / "journal"
    if not any(directory.glob("*.seg")):
        fail(f"{data_dir} holds no journal", MISUSED)
    return directory


def check(data_dir: Path, status: Status) -> tuple[dict[str, Any], str | None]:
    """(findings, what is wrong or None) of a journal replayed from its first command to its end."""
    directory = journal_directory(data_dir)
    engine, wrong, failed_seq, started = Engine(), None, None, time.perf_counter()
    torn, adaptive = False, AdaptiveReplay(engine)
    try:
        report = replay_into(engine, directory, status.progress, follow=adaptive)
        torn = report.torn is not None
    except InvariantBroken as error:
        wrong, failed_seq = str(error), int(error.seq)
    except JournalCorrupt as error:
        wrong, failed_seq = str(error), int(error.seq)
    except JournalError as error:
        wrong = str(error)
    status.end()
    replay_seconds = time.perf_counter() - started
    faults: list[str] = []
    started_up = engine.config is not None
    if wrong is None and not started_up:
        wrong, failed_seq = "the journal holds no command", 1
    elif wrong is None:
        faults = engine.audit()
        if faults:
            wrong, failed_seq = f"seq {engine.seq}: {'; '.join(faults[:5])}", int(engine.seq)
    if wrong is None and adaptive.faults:
        faults = [f"seq {seq}: {text}" for seq, text in adaptive.faults]
        wrong, failed_seq = "; ".join(faults[:5]), adaptive.faults[0][0]
    findings = {
        "seq": int(engine.seq),
        "digest": engine.state_digest().hex() if started_up else None,
        "chain": engine.event_chain()[0].hex() if started_up else None,
        "accounts": engine.counters().accounts if started_up else 0,
        "conserved": started_up and conserved(engine),
        "checkpoints": int(engine.checkpoints),
        "adaptive_announcements": adaptive.checked,
        "adaptive_missed": adaptive.margins.missed,
        "journal_bytes": sum(path.stat().st_size for path in directory.glob("*.seg")),
        "torn_tail": torn,
        "faults": faults,
        "failed_seq": failed_seq,
        "error": wrong,
        "commands_per_second": round(engine.seq / replay_seconds) if replay_seconds > 0 else None,
    }
    return findings, wrong


def verify(
    data_dir: Annotated[Path, typer.Argument(help="Data directory of a venue, running or not.")],
    json: Annotated[bool, typer.Option("--json", help="The findings as one JSON object.")] = False,
) -> None:
    """Replay a journal, reproduce every checkpoint, audit every invariant, and hold each margin announcement of the
    venue's own against what its marks ask for. Takes no lock and changes nothing.

    Exit status 1 where something does not hold; the first failing seq is named.
    """
    findings, wrong = check(data_dir, Status())
    if json:
        print_json(findings)
    else:
        for name, value in findings.items():
            if value not in (None, [], False) or name == "conserved":
                shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
                out.print(f"{name:<20} {escape(shown)}")
    if wrong is None and not json:
        out.print(f"verified: {findings['seq']:,} commands, {findings['checkpoints']:,} checkpoints, no fault")
    if wrong is not None:
        err.print(f"[red]verify failed:[/red] {escape(wrong)}")
        raise SystemExit(FAILED)


def readable(record: memoryview) -> dict[str, Any]:
    """One journaled command as plain values."""
    kind = CommandKind(int.from_bytes(record[0:2], "little"))
    found: dict[str, Any] = {
        "seq": int.from_bytes(record[8:16], "little"),
        "time_ns": int.from_bytes(record[16:24], "little", signed=True),
        "kind": kind.name,
    }
    account_id = int.from_bytes(record[4:8], "little")
    if account_id:
        found["account_id"] = account_id
    if kind >= FIRST_COLD:
        return found | {"payload": msgspec.msgpack.decode(payload(record))}
    layout = LAYOUTS[kind]
    fields = np.frombuffer(record, dtype=layout, count=1)[0]
    for name in layout.names or ():
        if name not in _HIDDEN:
            value = fields[name]
            found[name] = value.tobytes().hex() if layout[name].kind == "V" else int(value)
    if found.get("label_bytes"):
        start = layout.itemsize + found.get("terms_slots", 0) * SLOT_BYTES
        tail = bytes(record[start : start + found["label_bytes"]])
        found["label"] = tail.decode("utf-8", "replace")
    return found


def journal(
    data_dir: Annotated[Path, typer.Argument(help="Data directory of a venue, running or not.")],
    start: Annotated[int, typer.Option("--from", min=1, help="First seq to show.")] = 1,
    limit: Annotated[int, typer.Option(min=1, help="How many records at most.")] = 100,
    json: Annotated[bool, typer.Option("--json", help='{"records": [...]} on one line.')] = False,
) -> None:
    """Print journaled commands."""
    found: list[dict[str, Any]] = []
    try:
        for _, _, slots in read_batches(journal_directory(data_dir), start):
            for record in records_of(slots):
                if len(found) < limit:
                    found.append(readable(record))
            if len(found) >= limit:
                break
    except JournalError as error:
        fail(str(error), FAILED)
    if json:
        print_json({"records": found})
        return
    for one in found:
        seconds, rest_ns = divmod(one.pop("time_ns"), 1_000_000_000)
        moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
        seq, kind = one.pop("seq"), one.pop("kind")
        words = " ".join(f"{name}={value}" for name, value in one.items())
        out.print(f"{seq:>10}  {moment}.{rest_ns:09d}  {kind:<18} {words}", markup=False)
