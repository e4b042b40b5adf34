"""The benches' order flow is what they say it is, and the figures have the shape that scripts read."""

import json
import os
from pathlib import Path

import pytest

from exchange.engine import Engine
from loadtest import bench_engine, bench_gateway, bench_journal, bench_margin, bench_matching, swarm, workload
from loadtest.report import Figure, emit, rounded

MESSAGES = 10_000


@pytest.fixture(scope="module")
def flow() -> workload.Flow:
    return workload.plan(11, MESSAGES, marks_every=500)


def test_the_mix_is_as_declared(flow: workload.Flow) -> None:
    assert len(flow.operations) == MESSAGES
    assert len(flow.records) == MESSAGES + flow.marks and flow.marks == MESSAGES // 500
    kinds = [operation.kind for operation in flow.operations]
    assert 0.35 < kinds.count("cancel") / MESSAGES < 0.42
    assert 0.04 < kinds.count("market") / MESSAGES < 0.06
    assert 0.10 <= flow.trading_messages / MESSAGES <= 0.15
    assert flow.trades >= flow.trading_messages
    assert flow.rejected <= 0.01 * MESSAGES
    assert flow.placed == kinds.count("limit") + kinds.count("market")


def test_a_seed_gives_the_same_records_and_they_end_in_the_planned_state(flow: workload.Flow) -> None:
    again = workload.plan(11, MESSAGES, marks_every=500)
    assert again.records == flow.records and again.digest == flow.digest
    assert workload.plan(12, 500).records != workload.plan(11, 500).records
    engine: Engine = workload.replayed(flow)
    for record in flow.records:
        engine.apply(record)
    assert engine.state_digest() == flow.digest
    assert engine.audit() == []
    assert engine.counters().trades == flow.trades


def test_buyers_and_sellers_apart_never_meet_themselves() -> None:
    apart = workload.plan(5, 2_000, options=False, mix=workload.Mix(apart=True))
    pytest.importorskip("bourse", reason="the peer of the matching bench is not installed (extra `bench`)")
    assert bench_matching.peers(apart, 1), "an independent book makes the same trades of the same flow"


def test_figures_are_measured_and_printed_as_scripts_expect(capsys: pytest.CaptureFixture[str]) -> None:
    found = bench_engine.figures(1_000, 2) | bench_matching.figures(1_000, 2) | bench_journal.figures(1_000, 2)
    emit(found, True)
    printed = json.loads(capsys.readouterr().out)
    assert {"cpu", "cores", "python", "kernels"} <= printed["machine"].keys()
    assert set(printed["figures"]) == {"engine.orders", "matching.book.one", "journal.replay"}
    for figure in printed["figures"].values():
        assert {"value", "unit", "goal", "peers"} <= figure.keys()
        assert figure["value"] > 0 and all(value > 0 for value in figure["peers"].values())
    emit({"a.b": Figure(1.5, "us")}, False)
    assert "a.b" in capsys.readouterr().out


def test_margin_figures_hold_against_their_peers() -> None:
    # Both raise where our results and the peers' differ.
    found = bench_margin.reprice_figure(2)
    assert found.unit == "ns/price" and found.value > 0
    assert set(bench_margin.fill_figures(1)) == {"margin.fill.hot", "margin.fill.random"}


def test_rounding_keeps_four_digits() -> None:
    assert [rounded(value) for value in (0.123456, 12.3456, 999.94, 1234.5, 987654.3)] == [
        0.1235,
        12.35,
        999.9,
        1234.0,
        987654.0,
    ]


def test_raw_answers_are_read_without_decoding() -> None:
    answer = b'{"jsonrpc":"2.0","id":42,"result":{"order":{"order_id":"77","price":1.0}}}'
    assert swarm.answer_id(answer) == 42
    assert swarm.order_id(answer) == b"77"
    assert swarm.answer_id(b'{"jsonrpc":"2.0","method":"subscription","params":{}}') == -1
    assert swarm.order_id(b'{"jsonrpc":"2.0","id":1,"error":{}}') == b""
    requests = swarm.Requests("BTC-PERPETUAL", 10.0, 90_000.5)
    placed, cancelled = json.loads(requests.place(6)), json.loads(requests.cancel(7, b"77"))
    assert (placed["id"], placed["method"], placed["params"]["price"]) == (6, "private/buy", 90_000.5)
    assert (cancelled["id"], cancelled["params"]) == (7, {"order_id": "77"})


def test_the_cost_of_a_sync_is_measured(tmp_path: Path) -> None:
    p50_us, p99_us = bench_gateway.sync_us(tmp_path)
    assert 0 < p50_us <= p99_us
    assert os.listdir(tmp_path) == []
