"""The queue of the fund's operations: order, bounded memory, the spool, the cursor."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from exchange.events import BalanceCause, EventKind
from gateway.fund_desk import LocalDesk
from gateway.fund_queue import KINDS, FundQueue, Operation, Spool, read_cursor


def facts(rng, count):
    """Events of one command: some ask something of the fund, some do not."""
    found = []
    for _ in range(count):
        kind = rng.choice(["lease", "settle", "credit", "endow", "other"])
        amount = int(rng.integers(1, 2**62))
        fund = {"currency": int(rng.integers(0, 8)), "amount_minor": amount, "lease_id": int(rng.integers(1, 2**63))}
        money = {"account_id": 0, "currency": 1, "amount_minor": amount, "cause": BalanceCause.FUND_ENDOWMENT}
        sold = {"currency": 2, "fee_minor": amount}
        found.append(
            {
                "lease": (EventKind.FUND_LEASE_REQUESTED, SimpleNamespace(**fund)),
                "settle": (EventKind.FUND_LEASE_SETTLED, SimpleNamespace(**fund)),
                "credit": (EventKind.AUCTION_LOT_SOLD, SimpleNamespace(**sold)),
                "endow": (EventKind.BALANCE_CHANGED, SimpleNamespace(**money)),
                "other": (EventKind.TRADE_EXECUTED, SimpleNamespace()),
            }[kind]
        )
    return found


def test_any_number_waits_in_order_with_a_bounded_part_in_memory(tmp_path: Path, rng) -> None:
    """Against a plain list, over random arrivals and completions."""
    small = FundQueue(tmp_path / "small", in_memory=8)
    whole = FundQueue(tmp_path / "whole", in_memory=10**9)
    expected: list[Operation] = []
    seq = spooled = 0
    for _ in range(3_000):
        if rng.random() < (0.5 if seq < 800 else 0.2):
            seq += 1
            arrived = facts(rng, int(rng.integers(0, 6)))
            assert small.observe_facts(seq, arrived) == whole.observe_facts(seq, arrived)
            expected = whole.first(10**9)
        elif expected:
            assert small.first() == whole.first() == expected[:1]
            done = small.done()
            assert done == whole.done()
            gone = expected.pop(0)
            assert done == (gone.seq if not expected or expected[0].seq != gone.seq else 0)
        assert len(small) == len(whole) == len(expected)
        assert small.in_memory <= 8 and small.in_memory == min(small.in_memory, len(expected))
        assert not expected or small.in_memory > 0
        assert (tmp_path / "small.spool").exists() == (len(small) > small.in_memory)
        spooled = max(spooled, len(small) - small.in_memory)
    assert spooled > 100 and not (tmp_path / "whole.spool").exists()
    while len(small):
        assert small.first() == expected[:1]
        small.done()
        expected.pop(0)
    assert not (tmp_path / "small.spool").exists()


def test_the_spool_keeps_every_field(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s")
    kept = [Operation(2**63, 2**31, kind, 65_535, 2**63 - 1, 2**64 - 1) for kind in KINDS]
    spool.add(kept)
    spool.add(kept[:1])
    assert spool.take(3) == kept[:3] and spool.count == 2
    spool.add(kept[1:2])
    assert spool.take(10) == [kept[3], kept[0], kept[1]]
    assert spool.take(1) == [] and not (tmp_path / "s").exists()


def test_a_spool_left_behind_is_not_read(tmp_path: Path) -> None:
    """What it held is behind the cursor and comes from the journal again."""
    (tmp_path / "c.spool").write_bytes(b"x" * 100)
    assert len(FundQueue(tmp_path / "c")) == 0 and not (tmp_path / "c.spool").exists()


def test_a_torn_cursor_repeats_everything(tmp_path: Path) -> None:
    queue = FundQueue(tmp_path / "c")
    queue.confirmed(41)
    assert read_cursor(tmp_path / "c") == FundQueue(tmp_path / "c").cursor == 41
    (tmp_path / "c").write_text("41")
    assert FundQueue(tmp_path / "c").cursor == 0


def test_answers_may_come_twice_but_not_out_of_order(tmp_path: Path) -> None:
    desk = LocalDesk(3, tmp_path / "c", lambda record: b"")
    held = []
    sequencer = SimpleNamespace(hold=lambda callback: (callback(), held.append(1)))
    desk.attach(SimpleNamespace(), sequencer)
    money = SimpleNamespace(account_id=0, currency=0, amount_minor=5, cause=BalanceCause.FUND_ENDOWMENT)
    for seq in (4, 6):
        desk.observe_facts(seq, [(EventKind.BALANCE_CHANGED, money)] * 2)
    assert [one.operation_id for one in desk.ready(9)] == ["4-0", "4-1", "6-0", "6-1"]
    with pytest.raises(ValueError, match="not the oldest"):
        desk.finish(4, 1)
    desk.finish(4, 0)
    assert desk.queue.cursor == 0
    for _ in range(2):
        desk.finish(4, 1)
        assert (desk.queue.cursor, len(desk.queue)) == (4, 2)
    desk.finish(4, 0)
    assert len(desk.queue) == 2
    assert desk.epoch == 3 << 20
