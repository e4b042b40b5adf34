"""Every bad input has its code, and none of them changes the state."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.clients.venue import CALL, PERPETUAL, Venue

GOOD = {"instrument_name": PERPETUAL, "amount": 10, "price": 90_000}
OPTION = {"instrument_name": CALL, "amount": 0.1, "price": 0.05}


class Fixture:
    def __init__(self, venue: Venue, connection: Any):
        self.venue, self.connection = venue, connection

    def answer(self, method: str, params: Any) -> dict[str, Any]:
        self.connection.send(json.dumps({"id": "x", "method": method, "params": params}))
        while True:
            message = json.loads(self.connection.recv(timeout=5))
            if "id" in message:
                return message


@pytest.fixture(scope="module")
def alice(venue: Venue) -> Iterator[Fixture]:
    with connect(venue.ws) as connection:
        fixture = Fixture(venue, connection)
        account = venue.alice
        params = {"client_id": account.client_id, "client_secret": account.secret}
        assert "result" in fixture.answer("public/auth", {"grant_type": "client_credentials", **params})
        yield fixture


def but(base: dict[str, Any], **changes: Any) -> dict[str, Any]:
    merged = base | changes
    return {name: value for name, value in merged.items() if value is not ...}


EDGE = [
    ("private/buy", {}, -32602),
    ("private/buy", [], -32602),
    ("private/buy", but(GOOD, instrument_name="NOPE"), -32602),
    ("private/buy", but(GOOD, instrument_name=5), -32602),
    ("private/buy", but(GOOD, amount=...), -32602),
    ("private/buy", but(GOOD, amount=0), -32602),
    ("private/buy", but(GOOD, amount=-10), -32602),
    ("private/buy", but(GOOD, amount=15), -32602),
    ("private/buy", but(GOOD, amount="ten"), -32602),
    ("private/buy", but(GOOD, amount="nan"), -32602),
    ("private/buy", but(GOOD, amount="inf"), -32602),
    ("private/buy", but(GOOD, amount=1e30), -32602),
    ("private/buy", but(GOOD, contracts=3), -32602),
    ("private/buy", but(GOOD, price=...), -32602),
    ("private/buy", but(GOOD, price="nan"), -32602),
    ("private/buy", but(GOOD, price=90_000.3), 10043),
    ("private/buy", but(GOOD, price=1e300), 10043),
    ("private/buy", but(GOOD, type="nonsense"), -32602),
    ("private/buy", but(GOOD, type="stop_limit"), -32602),
    ("private/buy", but(GOOD, trigger_price=90_000), 11047),
    ("private/buy", but(GOOD, advanced="usd"), 11038),
    ("private/buy", but(GOOD, mmp=True), 13040),
    ("private/buy", but(GOOD, display_amount=15), -32602),
    ("private/buy", but(GOOD, time_in_force="good_till_cancelled"), -32602),
    ("private/buy", but(GOOD, label="x" * 65), -32602),
    ("private/buy", but(GOOD, label="é" * 33), -32602),
    ("private/buy", but(GOOD, valid_until=-1), -32602),
    ("private/buy", but(GOOD, post_only="perhaps"), -32602),
    ("private/sell", but(OPTION, amount=0.15), -32602),
    ("private/sell", but(OPTION, price=0.00005), 10043),
    ("private/edit", {"order_id": "1000000", "amount": 10, "price": 1}, 10004),
    ("private/edit", {"order_id": "abc", "amount": 10}, -32602),
    ("private/cancel", {}, -32602),
    ("private/cancel", {"order_id": "1000000"}, 10004),
    ("private/cancel", {"order_id": "-1"}, 10004),
    ("private/cancel", {"order_id": ""}, -32602),
    ("private/cancel_all_by_currency", {}, -32602),
    ("private/cancel_all_by_currency", {"currency": "B!C"}, -32602),
    ("private/cancel_all_by_instrument", {"instrument_name": "X"}, -32602),
    ("private/cancel_all_by_kind_or_type", {"currency": "BTC", "kind": "x"}, -32602),
    ("private/cancel_by_label", {}, -32602),
    ("private/close_position", {"instrument_name": PERPETUAL, "type": "market"}, 10010),
    ("private/close_position", {"instrument_name": PERPETUAL, "type": "stop"}, -32602),
    ("private/get_order_state", {"order_id": "77777"}, 10004),
    ("private/get_order_history_by_currency", {"currency": "BTC", "count": 0}, -32602),
    ("private/get_order_history_by_currency", {"currency": "BTC", "offset": -1}, -32602),
    ("private/get_user_trades_by_currency", {"currency": "BTC", "sorting": "up"}, -32602),
    ("private/get_account_summary", {"currency": "DOGE"}, -32602),
    ("private/place_bid", {"auction_id": 1, "phase": 0, "limit": 1}, 13020),
    ("public/get_order_book", {"instrument_name": PERPETUAL, "depth": 0}, -32602),
    ("public/get_index_price", {"index_name": "doge_usd"}, -32602),
    ("public/get_last_trades_by_instrument", {"instrument_name": PERPETUAL, "count": 5000}, -32602),
    ("public/set_heartbeat", {"interval": 1}, -32602),
    ("public/subscribe", {"channels": "book"}, -32602),
    ("public/subscribe", {}, -32602),
    ("public/auth", {"grant_type": "password"}, -32602),
    ("public/auth", {"grant_type": "client_credentials", "client_id": "x"}, -32602),
    ("public/auth", {"grant_type": "client_credentials", "client_id": "x", "client_secret": "y"}, 13004),
    ("public/auth", {"grant_type": "refresh_token", "refresh_token": "x"}, 13009),
    ("private/nothing", {}, -32601),
    ("", {}, -32601),
]
ENGINE = [
    ("private/buy", but(GOOD, price=900_000), 10007),
    ("private/sell", but(GOOD, price=100), 10005),
    ("private/buy", but(GOOD, amount=1e12), 10021),
    ("private/sell", but(OPTION, price=0.0052), 10043),
    ("private/buy", but(GOOD, valid_until=1_000), 13888),
    ("private/sell", but(GOOD, price=100_000, reduce_only=True), 11030),
    ("private/buy", but(GOOD, time_in_force="fill_or_kill"), 11030),
    ("private/buy", but(GOOD, amount=90_000_000), 10009),
]


@pytest.mark.parametrize(("method", "params", "code"), EDGE)
def test_edge_refusals_leave_everything_as_it_was(alice: Fixture, method: str, params: Any, code: int) -> None:
    before, seq = alice.venue.digest(), alice.venue.run(lambda: alice.venue.core.sequencer.seq)
    answer = alice.answer(method, params)
    assert answer["error"]["code"] == code
    assert answer["error"]["message"]
    assert answer["id"] == "x"
    assert alice.venue.digest() == before
    assert alice.venue.run(lambda: alice.venue.core.sequencer.seq) == seq


@pytest.mark.parametrize(("method", "params", "code"), ENGINE)
def test_engine_refusals_change_nothing_but_the_sequence(alice: Fixture, method: str, params: Any, code: int) -> None:
    def money() -> Any:
        engine = alice.venue.core.engine
        ids = engine.account_ids()
        return [(engine.account(i), engine.positions(i), engine.open_orders(i)) for i in ids]

    before, seq = alice.venue.run(money), alice.venue.run(lambda: alice.venue.core.sequencer.seq)
    answer = alice.answer(method, params)
    assert answer["error"]["code"] == code, answer
    assert alice.venue.run(money) == before
    assert alice.venue.run(lambda: alice.venue.core.sequencer.seq) == seq + 1
    assert alice.venue.run(alice.venue.core.engine.audit) == []


def test_somebody_elses_order_is_unknown(alice: Fixture, venue: Venue) -> None:
    placed = alice.answer("private/buy", GOOD)["result"]["order"]
    with connect(venue.ws) as connection:
        bob = Fixture(venue, connection)
        params = {"client_id": venue.bob.client_id, "client_secret": venue.bob.secret}
        bob.answer("public/auth", {"grant_type": "client_credentials", **params})
        before = venue.digest()
        for method, extra in (
            ("cancel", {}),
            ("edit", {"amount": 20, "price": 80_000}),
            ("get_order_state", {}),
        ):
            answer = bob.answer(f"private/{method}", {"order_id": placed["order_id"], **extra})
            assert answer["error"]["code"] == 10004
        assert venue.digest() == before
    assert alice.answer("private/cancel", {"order_id": placed["order_id"]})["result"]["order_state"] == "cancelled"
    assert alice.answer("private/cancel", {"order_id": placed["order_id"]})["error"]["code"] == 11044
