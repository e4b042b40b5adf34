"""What-if questions over the wire: margins of orders, simulated portfolios, the table, changing the model."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.clients.test_websocket import Client
from tests.clients.venue import CALL, INDEX, LINEAR, PERPETUAL, Venue


@pytest.fixture
def alice(venue: Venue) -> Iterator[Client]:
    venue.publish(INDEX)
    with connect(venue.ws, compression=None) as connection:
        client = Client(connection).login(venue.alice)
        yield client
        client.result("private/cancel_all")


def refused(client: Client, method: str, **params: Any) -> int:
    """The error code of a call that must fail."""
    return client.call(method, **params)["error"]["code"]


def initial(client: Client, currency: str = "BTC") -> float:
    return client.result("private/get_account_summary", currency=currency)["initial_margin"]


def test_margins_of_an_order_are_what_the_order_adds(alice: Client) -> None:
    said = alice.result("private/get_margins", instrument_name=PERPETUAL, amount=10_000, price=99_000)
    assert said["min_price"] < INDEX < said["max_price"]
    assert said["buy_taker_fee"] == pytest.approx(10_000 / 99_000 * 0.0005) and said["buy_maker_fee"] == 0
    before = initial(alice)
    placed = alice.result("private/buy", instrument_name=PERPETUAL, amount=10_000, price=99_000)["order"]
    assert initial(alice) - before == pytest.approx(said["buy"], abs=1e-9)
    (own,) = alice.result("private/get_order_margin_by_ids", ids=[placed["order_id"]])
    assert own["initial_margin_currency"] == "BTC" and own["initial_margin"] == pytest.approx(said["buy"], rel=1e-6)
    for wrong, code in (({"amount": -10}, -32602), ({"amount": 5}, -32602), ({"amount": 1e15}, 10021)):
        params = {"instrument_name": PERPETUAL, "amount": 10, "price": 99_000} | wrong
        assert refused(alice, "private/get_margins", **params) == code
    assert refused(alice, "private/get_order_margin_by_ids", ids=["999999"]) == 10004


def test_a_simulated_portfolio_changes_nothing(venue: Venue, alice: Client) -> None:
    digest = venue.digest()
    plain = alice.result("private/get_account_summary", currency="BTC")
    options = alice.result("private/simulate_portfolio", currency="BTC", simulated_positions={CALL: -1.0})
    assert options["initial_margin"] > plain["initial_margin"]
    assert options["equity"] == plain["equity"]
    as_text = json.dumps({CALL: -1.0, LINEAR: 0.5})
    both = alice.result("private/simulate_portfolio", currency="USDC", simulated_positions=as_text)
    assert both["currency"] == "USDC" and both["initial_margin"] > 0
    table = alice.result("private/pme/simulate", currency="BTC", simulated_positions={CALL: -1.0}, add_positions=False)
    (book,) = table["books"]
    assert len(book["scenarios"]) == 35 and book["held_lots"] == 10
    assert min(row["positions"] for row in book["scenarios"]) < 0 and book["parameters"]["sha256"]
    assert refused(alice, "private/simulate_portfolio", currency="BTC", simulated_positions={"NO-SUCH": 1}) == -32602
    assert refused(alice, "private/simulate_portfolio", currency="BTC", simulated_positions={CALL: 1e17}) == 10021
    assert refused(alice, "private/pme/simulate", currency="BTC", simulated_positions="[1]") == -32602
    assert venue.digest() == digest


def test_changing_the_model_dry_and_wet(venue: Venue, alice: Client) -> None:
    shown = alice.result("private/change_margin_model", margin_model="segregated_sm", dry_run=True)
    assert {row["currency"] for row in shown} == {"BTC", "USDC"}
    assert alice.result("private/get_account_summary", currency="BTC")["margin_model"] == "segregated_pm"
    alice.result("private/change_margin_model", margin_model="segregated_sm")
    summary = alice.result("private/get_account_summary", currency="BTC")
    assert (summary["margin_model"], summary["portfolio_margining_enabled"]) == ("segregated_sm", False)
    alice.result("private/change_margin_model", margin_model="segregated_pm")
    assert refused(alice, "private/change_margin_model", margin_model="pm") == -32602
    assert refused(alice, "private/change_margin_model", margin_model="cross_pm", user_id=77) == 13021
