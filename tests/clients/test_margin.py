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


def test_margins_of_an_order_come_with_the_table_that_they_are_from(venue: Venue, alice: Client) -> None:
    digest = venue.digest()
    params = {"instrument_name": PERPETUAL, "amount": 10_000, "price": 99_000}
    plain = alice.result("private/get_margins", **params)
    said = alice.result("private/get_margins", **params, scenario_table=True)
    assert plain == {name: value for name, value in said.items() if not name.endswith("_table")}
    now = alice.result("private/get_margin_table", currency="BTC")
    (before,) = (one["initial"] for one in now["entities"] if one["currency"] == "BTC")
    for side in ("buy", "sell"):
        table = said[f"{side}_table"]
        (after,) = (one["initial"] for one in table["entities"] if one["currency"] == "BTC")
        assert (after - before) / 1e10 == pytest.approx(said[side], abs=1e-9)
        (book,) = (one for one in table["books"] if one["currency"] == "BTC")
        assert book["parameters"]["sha256"] and book["open_lots"] == 1_000
        assert min(row["orders"] for row in book["scenarios"]) < 0
    summary = alice.result("private/simulate_portfolio", currency="BTC", simulated_positions={CALL: -1.0})
    whole = alice.result(
        "private/simulate_portfolio", currency="BTC", simulated_positions={CALL: -1.0}, scenario_table=True
    )
    table = whole.pop("margin_table")
    assert whole == summary
    (entity,) = (one for one in table["entities"] if one["currency"] == "BTC")
    assert entity["initial"] / 1e10 == pytest.approx(summary["initial_margin"])
    assert venue.digest() == digest


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


def filled(venue: Venue, alice: Client, name: str, side: str, amount: float, price: float) -> None:
    """Trade with bob at a price."""
    with connect(venue.ws, compression=None) as connection:
        bob = Client(connection).login(venue.bob)
        other = "buy" if side == "sell" else "sell"
        bob.result(f"private/{other}", instrument_name=name, amount=amount, price=price)
        trades = alice.result(f"private/{side}", instrument_name=name, amount=amount, price=price)["trades"]
        bob.result("private/cancel_all")
    assert sum(trade["amount"] for trade in trades) == amount


def test_greeks_and_projected_margins_add_up(venue: Venue, alice: Client) -> None:
    venue.publish(INDEX)
    filled(venue, alice, CALL, "sell", 1.0, 0.42)
    filled(venue, alice, PERPETUAL, "buy", 20_000, INDEX)
    filled(venue, alice, LINEAR, "sell", 0.5, INDEX)
    table = alice.result("private/pme/simulate", currency="any")
    positions = {one["instrument_name"]: one for one in table["greeks"]["positions"]}
    assert positions.keys() == {CALL, PERPETUAL, LINEAR}
    shown = {one["instrument_name"]: one for one in alice.result("private/get_positions")}
    for name in ("delta", "gamma", "vega", "theta"):
        assert positions[CALL][name] == pytest.approx(shown[CALL][name])
    coin, dollar = table["greeks"]["totals"]
    assert (coin["currency"], dollar["currency"]) == ("BTC", "USDC")
    assert coin["delta"] == pytest.approx(positions[CALL]["delta"] + 0.2) and dollar["delta"] == pytest.approx(-0.5)
    assert coin["vega_by_tenor"][-1] == coin["vega"] != 0 and table["greeks"]["tenor_days"] == [7, 30, 90, 180, 365]
    assert positions[CALL]["rho"] == coin["rho"] < 0
    summary = alice.result("private/get_account_summary", currency="BTC")
    assert summary["options_delta"] == positions[CALL]["delta"] < 0
    assert summary["options_vega_map"] == {"btc_usd": summary["options_vega"]} == {"btc_usd": coin["vega"]}
    premium = shown[CALL]["mark_price"] * -1.0
    assert summary["delta_total"] == pytest.approx(coin["delta"] - premium)
    assert summary["projected_delta_total"] == pytest.approx(0.2)  # the call and its expiry are the closest
    assert 0 < summary["projected_maintenance_margin"] < summary["maintenance_margin"]
    without = {CALL: 1.0}
    flat = alice.result("private/simulate_portfolio", currency="BTC", simulated_positions=without)
    assert flat["options_vega"] == 0 == flat["options_delta"]
    assert flat["maintenance_margin"] == summary["projected_maintenance_margin"] == flat["projected_maintenance_margin"]
    in_dollars = alice.result("private/get_account_summary", currency="USDC")
    assert in_dollars["delta_total_map"] == {"btc_usd": pytest.approx(-0.5)} and in_dollars["options_vega"] == 0


def test_positions_of_a_formula_account_carry_their_own_margin(venue: Venue, alice: Client) -> None:
    alice.result("private/change_margin_model", margin_model="segregated_sm")
    alice.result("private/sell", instrument_name=LINEAR, amount=0.25, price=INDEX * 1.01)
    shown = {one["instrument_name"]: one for one in alice.result("private/get_positions")}
    summary = {one["currency"]: one for one in alice.result("private/get_account_summaries")["summaries"]}
    assert summary["BTC"]["margin_balance"] == pytest.approx(
        summary["BTC"]["equity"] - summary["BTC"]["options_value"], abs=1e-9
    )
    assert summary["BTC"]["options_value"] < 0
    for currency, names in (("BTC", (CALL, PERPETUAL)), ("USDC", (LINEAR,))):
        for figure in ("initial_margin", "maintenance_margin"):
            parts = sum(shown[name][figure] for name in names)
            parts += sum(shown[name]["open_orders_margin"] for name in names) if figure == "initial_margin" else 0
            assert parts == pytest.approx(summary[currency][figure], abs=1e-9) and parts > 0
    assert shown[LINEAR]["open_orders_margin"] > 0 == shown[CALL]["open_orders_margin"]
    assert shown[LINEAR]["estimated_liquidation_price"] > INDEX  # it stands alone in its currency
    assert shown[PERPETUAL]["estimated_liquidation_price"] is None
    alice.result("private/cancel_all")
    alice.result("private/change_margin_model", margin_model="cross_sm")
    crossed = alice.result("private/get_account_summary", currency="BTC")
    worth = crossed["total_equity_usd"] - crossed["options_value"] * INDEX
    assert crossed["total_margin_balance_usd"] == pytest.approx(worth, abs=0.01)
    dollars = alice.result("private/get_account_summary", currency="USDC")["delta_total"] * INDEX
    assert crossed["total_delta_total_usd"] == pytest.approx(crossed["delta_total"] * INDEX + dollars)
    alice.result("private/change_margin_model", margin_model="segregated_pm")
