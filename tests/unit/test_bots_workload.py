"""The benches' order flow is what they say it is, and the figures have the shape that scripts read."""

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from exchange.engine import Engine
from exchange.market.matching import CANCEL, IMMEDIATE_OR_CANCEL, LIMIT, MARKET, Matcher
from loadtest import (
    bench_engine,
    bench_gateway,
    bench_journal,
    bench_margin,
    bench_matching,
    swarm,
    workload,
    workload_matching,
)
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
    matcher = Matcher(1, 10**8, 2_000)
    kinds = {"limit": LIMIT, "market": MARKET, "cancel": CANCEL}
    for kind, buy, price, lots, order in apart.operations:
        matcher.submit(kinds[kind], 0 if buy else 1, 0, price, lots, order + 1)
    assert matcher.trades == apart.trades > 0, "the book alone makes the engine's trades of the same flow"
    assert matcher.refused == 0


@pytest.mark.parametrize("shape", [workload_matching.ONE, workload_matching.TWO_HUNDRED])
def test_the_flow_of_the_book_is_as_declared(shape: workload_matching.Shape) -> None:
    shape = shape._replace(messages=40_000)
    opening, messages = workload_matching.draw(shape, 3)
    kinds = np.bincount(messages["kind"], minlength=4) / len(messages)
    assert len(messages) == shape.messages and len(opening) == shape.books * shape.resting
    assert 0.52 < kinds[LIMIT] < 0.58 and 0.37 < kinds[CANCEL] < 0.42
    assert 0.045 < kinds[MARKET] + kinds[IMMEDIATE_OR_CANCEL] < 0.055
    matcher = Matcher(shape.books, shape.max_price_units, 100_000)
    matcher.run(opening)
    trading = sum(matcher.run(messages[place : place + 1]) > 0 for place in range(len(messages)))
    assert 0.10 < trading / len(messages) < 0.15
    assert matcher.refused == 0 and 0.8 < matcher.orders.live / len(opening) < 1.2
    again = workload_matching.draw(shape, 3)
    assert np.array_equal(again[0], opening) and np.array_equal(again[1], messages)


def test_prepared_flows_are_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    shape = workload_matching.Shape(messages=500, resting=50)
    first = workload_matching.prepared(shape, 1)
    monkeypatch.setattr(workload_matching, "draw", lambda *_: pytest.fail("drawn again"))
    second = workload_matching.prepared(shape, 1)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_peers_of_the_book_come_to_the_same_outcome() -> None:
    pytest.importorskip("bourse", reason="the peer of the matching bench is not installed (extra `bench`)")
    flow = bench_matching.PreparedFlow(workload_matching.TWO_HUNDRED._replace(messages=3_000, books=7))
    assert "bourse" in flow.peers(), "an independent book makes the same trades of the same flow"
    flow.expected.trades[3].pop()
    assert "bourse" not in flow.peers(), "one that makes other trades is no peer"


def test_figures_are_measured_and_printed_as_scripts_expect(capsys: pytest.CaptureFixture[str]) -> None:
    found = bench_engine.figures(1_000, 2) | bench_journal.figures(1_000, 2)
    found |= bench_matching.figures(2_000, 2, 1_000, (100, 1_000), (1, 5))
    emit(found, True)
    printed = json.loads(capsys.readouterr().out)
    assert {"cpu", "cores", "python", "kernels"} <= printed["machine"].keys()
    matching = ("book.one", "book.two_hundred", "python", "growth.resting", "growth.books")
    assert set(printed["figures"]) == {"engine.orders", "journal.replay", *(f"matching.{name}" for name in matching)}
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
