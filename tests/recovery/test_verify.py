"""`margrave verify`: damage is found and named, a running venue does not disturb it."""

import json
import shutil
from pathlib import Path

import pytest

from exchange.commands import SLOT_BYTES
from persistence.journal_reader import BatchReader, list_segments
from tests.serving import Served, margrave, small_config

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a venue that ran and was stopped."""
    root = tmp_path_factory.mktemp("verify")
    file = small_config(root / "venue.toml", "checkpoint_every = 40\n")
    with Served(root / "data", "--config", file) as venue:
        for amount in range(10, 110, 10):
            venue.call("private/buy", "demo", instrument_name="BTC-PERPETUAL", amount=amount, price=90_000)
        beside = margrave("verify", root / "data", "--json")
        assert beside.returncode == 0, beside.stderr
        assert json.loads(beside.stdout)["conserved"] is True
        assert venue.stop()[0] == 0
    return root / "data"


def test_sound(stopped: Path) -> None:
    done = margrave("verify", stopped, "--json")
    findings = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert findings["error"] is None
    assert findings["failed_seq"] is None
    assert findings["checkpoints"] >= 3
    assert findings["accounts"] == 17
    assert findings["journal_bytes"] > 0
    again = json.loads(margrave("verify", stopped, "--json").stdout)
    assert again["digest"] == findings["digest"]


def batches(data_dir: Path) -> list[tuple[int, int, int]]:
    """(first seq, last seq, end offset) of each batch of a one-segment journal."""
    reader = BatchReader(list_segments(data_dir / "journal"))
    return [(first, reader.next_seq - 1, reader.offset) for first, _, _ in reader]


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_flipped_byte_is_found_and_its_seq_named(stopped: Path, tmp_path: Path, place: float) -> None:
    shutil.copytree(stopped, tmp_path / "data", ignore=shutil.ignore_patterns("*.sock"))
    found = batches(tmp_path / "data")
    first, last, end = found[int(len(found) * place)]
    segment = list_segments(tmp_path / "data" / "journal")[0].path
    data = bytearray(segment.read_bytes())
    data[end - SLOT_BYTES // 2] ^= 0x10
    segment.write_bytes(data)
    done = margrave("verify", tmp_path / "data", "--json")
    findings = json.loads(done.stdout)
    assert done.returncode == 1
    assert first <= findings["failed_seq"] <= last
    assert f"seq {findings['failed_seq']}" in done.stderr.replace("\n", " ")


def test_a_rewritten_command_fails_at_its_checkpoint(stopped: Path, tmp_path: Path) -> None:
    """Even with the checksums made right again, the event chain gives the forgery away."""
    from exchange.commands import CommandKind
    from persistence.journal import Journal, read_batches

    forged = tmp_path / "data"
    (forged / "journal").mkdir(parents=True)
    segment = list_segments(stopped / "journal")[0]
    place_seq = 0
    with Journal(forged / "journal", segment.record_version, segment.logic_version, 9, "os") as journal:
        for _, _, slots in read_batches(stopped / "journal"):
            offset = 0
            while offset < len(slots):
                size = int.from_bytes(slots[offset + 2 : offset + 4].tobytes(), "little") * SLOT_BYTES
                record = bytearray(slots[offset : offset + size].tobytes())
                is_order = int.from_bytes(record[0:2], "little") == CommandKind.PLACE_ORDER
                if is_order:
                    place_seq = int.from_bytes(record[8:16], "little")
                    record[40] ^= 1  # one lot more or less
                journal.append(record)
                offset += size
            journal.sync()
    assert place_seq
    done = margrave("verify", forged, "--json")
    findings = json.loads(done.stdout)
    assert done.returncode == 1
    assert "checkpoint" in findings["error"]


def test_misuse(tmp_path: Path) -> None:
    done = margrave("verify", tmp_path)
    assert done.returncode == 2
    assert "holds no journal" in done.stderr
