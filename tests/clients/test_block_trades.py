"""Block trades over the wire: two signatures, one execution, what each side sees, before and after the store has it."""

import base64
import time
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.client import connect

from gateway.credentials import CredentialError, check_scopes
from tests.clients.test_websocket import Client
from tests.clients.venue import CALL, INDEX, PERPETUAL, Account, Venue

FUTURE_LEG = {"instrument_name": PERPETUAL, "direction": "sell", "price": 100_500, "amount": 1_000}
CALL_LEG = {"instrument_name": CALL, "direction": "buy", "price": 0.45, "amount": 1}


@pytest.fixture(autouse=True)
def calm(venue: Venue) -> None:
    venue.publish(INDEX)


def logged_in(venue: Venue, account: Account) -> Iterator[Client]:
    with connect(venue.ws, compression=None) as connection:
        yield Client(connection).login(account)


@pytest.fixture
def alice(venue: Venue) -> Iterator[Client]:
    yield from logged_in(venue, venue.alice)


@pytest.fixture
def bob(venue: Venue) -> Iterator[Client]:
    yield from logged_in(venue, venue.bob)


@pytest.fixture
def carol(venue: Venue, request: pytest.FixtureRequest) -> Iterator[Client]:
    yield from logged_in(venue, venue.account(request.node.name))


def agreed(nonce: str, *trades: dict[str, Any], **changes: Any) -> dict[str, Any]:
    stamp = time.time_ns() // 1_000_000
    return {"timestamp": stamp, "nonce": nonce, "trades": list(trades or (FUTURE_LEG, CALL_LEG)), **changes}


def refusal(client: Client, method: str, **params: Any) -> tuple[int, str]:
    error = client.call(method, **params)["error"]
    return error["code"], error["data"]["reason"]


def test_one_signs_the_other_executes_and_both_see_their_side(alice: Client, bob: Client, venue: Venue) -> None:
    alice.result("private/subscribe", channels=["user.trades.any.any.raw"])
    before = alice.result("public/ticker", instrument_name=PERPETUAL)
    terms = agreed("first")
    signed = alice.result("private/verify_block_trade", role="maker", **terms)
    assert 0 < signed["expires_at"] - terms["timestamp"] <= 310_000
    signature = signed["signature"]
    done = bob.result("private/execute_block_trade", role="taker", counterparty_signature=signature, **terms)
    assert done["id"].startswith("BLOCK-")
    future, call = done["trades"]
    assert [(t["instrument_name"], t["direction"], t["liquidity"]) for t in (future, call)] == [
        (PERPETUAL, "buy", "T"), (CALL, "sell", "T"),
    ]  # fmt: skip
    assert (future["price"], future["amount"], future["order_id"], future["state"]) == (100_500, 1_000, "0", "filled")
    assert {t["block_trade_id"] for t in (future, call)} == {done["id"]}
    (own,) = alice.wait_for("user.trades.any.any.raw")[:1]
    assert (own["direction"], own["liquidity"], own["block_trade_id"]) == ("sell", "M", done["id"])
    # the book's last, highest and lowest price stay; the volume and what is open count
    after = bob.result("public/ticker", instrument_name=PERPETUAL)
    assert after["last_price"] == before["last_price"]
    usd, coins = (after["stats"].pop(name) - before["stats"].pop(name) for name in ("volume_usd", "volume"))
    assert (usd, coins) == (1_000, pytest.approx(1_000 / 100_500, abs=1e-8))
    assert after["stats"].pop("volume_notional") - before["stats"].pop("volume_notional") == 1_000
    assert after["stats"] == before["stats"]
    assert after["open_interest"] == before["open_interest"] + 1_000
    public = bob.result("public/get_last_trades_by_instrument", instrument_name=PERPETUAL, count=1)["trades"]
    assert public[0]["block_trade_id"] == done["id"]
    position = alice.result("private/get_position", instrument_name=PERPETUAL)
    assert position["size"] == -1_000
    assert venue.run(venue.core.engine.audit) == []


def test_a_block_is_found_again_from_memory_and_from_the_store(alice: Client, bob: Client, venue: Venue) -> None:
    made = []
    for nonce in ("m1", "m2"):
        terms = agreed(nonce, FUTURE_LEG)
        signed = bob.result("private/verify_block_trade", role="taker", **terms)["signature"]
        made.append(alice.result("private/execute_block_trade", role="maker", counterparty_signature=signed, **terms))
    for wait in (False, True):
        if wait:
            deadline = time.monotonic() + 10
            last = int(made[-1]["trades"][-1]["trade_id"])
            while venue.recorder.history.covered[1] < last and time.monotonic() < deadline:
                time.sleep(0.05)
            venue.run(lambda: venue.gateway.projection._trades_by_account.clear())
        assert [alice.result("private/get_block_trade", id=one["id"]) for one in made] == made
        found = alice.result("private/get_block_trades", currency="BTC")
        assert found[:2] == made[::-1]
        assert len({one["id"] for one in found}) == len(found)
        assert alice.result("private/get_block_trades", start_id=made[0]["id"], end_id=made[0]["id"]) == made[:1]
        assert alice.result("private/get_last_block_trades_by_currency", currency="USDC") == []
        theirs = bob.result("private/get_block_trade", id=made[0]["id"])
        assert [t["direction"] for t in theirs["trades"]] == ["buy"]
    chart = {"instrument_name": PERPETUAL, "resolution": "1", "start_timestamp": 0, "end_timestamp": 1 << 42}
    assert bob.result("public/get_tradingview_chart_data", **chart)["status"] == "no_data"


def test_only_what_was_signed_can_be_executed_and_once(alice: Client, bob: Client, carol: Client, venue: Venue) -> None:
    terms = agreed("once", FUTURE_LEG)
    signature = alice.result("private/verify_block_trade", role="maker", **terms)["signature"]
    execute, invalid = "private/execute_block_trade", (11050, "invalid_signature")
    changed = [
        {"nonce": "other"}, {"timestamp": terms["timestamp"] + 1}, {"role": "maker"},
        {"trades": [FUTURE_LEG | {"price": 100_501}]}, {"trades": [FUTURE_LEG | {"amount": 2_000}]},
        {"trades": [FUTURE_LEG | {"direction": "buy"}]}, {"trades": [FUTURE_LEG, CALL_LEG]},
        {"counterparty_signature": signature[:-4] + "AAAA"}, {"counterparty_signature": ""},
        {"counterparty_signature": signature + "=" * 4}, {"counterparty_signature": "é" * len(signature)},
    ]  # fmt: skip
    base = {"role": "taker", "counterparty_signature": signature, **terms}
    for change in changed:
        assert refusal(bob, execute, **base | change) == invalid, change
    # whoever is named in the signature by hand has not signed it
    raw = bytearray(base64.urlsafe_b64decode(signature))
    raw[8:12] = venue.bob.account_id.to_bytes(4, "big")
    forged = base64.urlsafe_b64encode(bytes(raw)).decode()
    assert refusal(carol, execute, **base | {"counterparty_signature": forged}) == invalid
    assert refusal(alice, execute, **base)[1] == "block_same_account"
    bob.result(execute, **base)
    assert refusal(bob, execute, **base)[1] == "block_nonce_used"
    assert refusal(carol, execute, **base)[1] == "block_nonce_used"


def test_a_signer_takes_back_its_own_signature(alice: Client, bob: Client) -> None:
    terms = agreed("back", FUTURE_LEG)
    signature = alice.result("private/verify_block_trade", role="maker", **terms)["signature"]
    take_back = "private/invalidate_block_trade_signature"
    assert refusal(bob, take_back, signature=signature) == (13021, "not_the_signer")
    assert alice.result(take_back, signature=signature) == "ok"
    execute = {"role": "taker", "counterparty_signature": signature, **terms}
    assert refusal(bob, "private/execute_block_trade", **execute) == (11050, "signature_expired")
    assert refusal(alice, take_back, signature="no")[1] == "invalid_signature"


def test_what_can_be_seen_beforehand_is_refused_at_the_signature(alice: Client) -> None:
    verify = "private/verify_block_trade"
    late = agreed("late", FUTURE_LEG, timestamp=time.time_ns() // 1_000_000 - 301_000)
    assert refusal(alice, verify, role="maker", **late) == (13888, "block_timed_out")
    huge = FUTURE_LEG | {"direction": "buy", "amount": 50_000_000}
    assert refusal(alice, verify, role="maker", **agreed("huge", huge)) == (10009, "not_enough_funds")
    twice = agreed("twice", FUTURE_LEG, FUTURE_LEG)
    assert refusal(alice, verify, role="maker", **twice)[1] == "block_legs"
    wide = agreed("wide", FUTURE_LEG | {"price": 150_000})
    assert refusal(alice, verify, role="maker", **wide) == (10007, "price_too_high")
    for params, param in (
        (agreed("none") | {"trades": []}, "trades"),
        (agreed("x" * 65), "nonce"),
        (agreed("n", FUTURE_LEG, timestamp=-1), "timestamp"),
        (agreed("n", FUTURE_LEG | {"amount": 5}), "amount"),
        (agreed("n", FUTURE_LEG | {"instrument_name": "NONE"}), "instrument_name"),
    ):
        error = alice.call(verify, role="maker", **params)["error"]
        assert (error["code"], error["data"]["param"]) == (-32602, param)
    for params in (agreed("n", FUTURE_LEG | {"direction": "up"}), agreed("n") | {"role": "broker"}):
        assert alice.call(verify, **{"role": "maker", **params})["error"]["code"] == -32602


def test_a_simulation_answers_by_role(alice: Client) -> None:
    simulate = "private/simulate_block_trade"
    assert alice.result(simulate, trades=[FUTURE_LEG, CALL_LEG]) is True
    # a long of 6,000,000 USD can lose more than ten coins carry, a short of an inverse future cannot
    large = FUTURE_LEG | {"amount": 6_000_000}
    assert [alice.result(simulate, trades=[large], role=role) for role in ("maker", "taker")] == [True, False]
    assert alice.result(simulate, trades=[large]) is True
    assert alice.result(simulate, trades=[FUTURE_LEG | {"price": 150_000}]) is False


def test_ids_scopes_and_strangers(alice: Client, carol: Client, venue: Venue) -> None:
    for wrong in ("", "BLOCK-", "BLOCK-x", "BLOCK--1", "9" * 40):
        assert alice.call("private/get_block_trade", id=wrong)["error"]["code"] == -32602
    assert carol.call("private/get_block_trade", id="BLOCK-1")["error"]["code"] == 13020
    assert carol.result("private/get_block_trades") == []
    check_scopes(("block_trade:read",))
    with pytest.raises(CredentialError):
        check_scopes(("block_trade:write",))
    trader = venue.account("trader only", scopes=("trade:read_write", "block_trade:read"))
    with connect(venue.ws, compression=None) as connection:
        client = Client(connection).login(trader)
        assert client.result("private/get_block_trades") == []
        error = client.call("private/verify_block_trade", role="maker", **agreed("scope"))["error"]
        assert error["code"] == 13021
