"""Questions that suppose something: the answer is what the change itself gives, and nothing stays changed."""

import pytest

from exchange import config
from exchange.commands import CommandKind
from tests.driver import COIN, DAY, START_NS, Driver, linear_perpetual, option, perpetual

EXPIRY = START_NS // DAY * DAY + 40 * DAY + 8 * 3_600 * 10**9
PUT, CALL = f"BTC-{EXPIRY // DAY}-90000-P", f"BTC-{EXPIRY // DAY}-110000-C"
MODELS = ("segregated_pm", "cross_pm", "segregated_sm", "cross_sm")


def venue(model):
    made = Driver([perpetual(), linear_perpetual(), option(90_000, "put", EXPIRY), option(110_000, "call", EXPIRY)])
    made.maker = made.account("maker", btc=10_000, usdc=1_000_000_000)
    made.alice = made.account("alice", btc=100, usdc=1_000_000, model=model)
    made.marks(100_000)
    made.trade(made.maker, made.alice, "BTC-PERPETUAL", "buy", 200_000, 10_000)
    made.place(made.alice, CALL, "sell", 900, 3)
    return made


@pytest.mark.parametrize("model", MODELS)
def test_supposed_positions_cost_what_bought_ones_do(model) -> None:
    made = venue(model)
    digest = made.engine.state_digest()
    slot = made.slot("BTC_USDC-PERPETUAL")
    supposed = made.engine.what_if.with_positions(made.alice, {slot: 500})
    assert made.engine.state_digest() == digest
    made.sound()
    before = made.engine.what_if.margins(made.alice)
    made.trade(made.maker, made.alice, "BTC_USDC-PERPETUAL", "buy", 1_000_000, 500)
    after = made.engine.what_if.margins(made.alice)
    assert [m[2] for m in supposed] == [m[2] for m in after] != [m[2] for m in before]
    if not model.startswith("cross"):  # where collateral is no hedge, the fee paid does not move the requirement
        assert [m[1] for m in supposed] == [m[1] for m in after]


def test_positions_may_be_replaced() -> None:
    made = venue("segregated_pm")
    none = made.engine.what_if.with_positions(made.alice, {}, add=False)
    assert none[0][2] == 0
    mirrored = made.engine.what_if.with_positions(made.alice, {made.slot("BTC-PERPETUAL"): 10_000}, add=False)
    assert mirrored == made.engine.what_if.margins(made.alice)
    with pytest.raises(OverflowError):
        made.engine.what_if.with_positions(made.alice, {made.slot("BTC-PERPETUAL"): 1 << 50})
    with pytest.raises(KeyError):
        made.engine.what_if.with_positions(made.alice, {99: 1})
    made.sound()


@pytest.mark.parametrize("model", MODELS)
def test_an_order_costs_what_it_says(model) -> None:
    made = venue(model)
    digest = made.engine.state_digest()
    said = made.engine.what_if.order_margin(made.alice, made.slot(PUT), 1, 300, 7)
    assert said > 0 and made.engine.state_digest() == digest
    before = made.engine.account(made.alice).currencies[0].initial_margin_minor
    made.place(made.alice, PUT, "sell", 300, 7)
    after = made.engine.account(made.alice).currencies[0].initial_margin_minor
    assert abs(after - before - said) <= (2 * COIN // 10**8 if model.startswith("cross") else 0)
    assert made.engine.what_if.order_margin(made.alice, made.slot(PUT), 1, 300, 1 << 52) == -1


@pytest.mark.parametrize("model", MODELS)
def test_another_model_is_what_the_switch_gives(model) -> None:
    made = venue("segregated_pm")
    digest = made.engine.state_digest()
    supposed = made.engine.what_if.under_model(made.alice, model)
    assert made.engine.state_digest() == digest
    made.cold(CommandKind.CHANGE_MARGIN_MODEL, config.ChangeMarginModel(model), made.alice)
    assert made.engine.account(made.alice) == supposed
    made.sound()


@pytest.mark.parametrize("model", MODELS)
def test_the_table_adds_up_to_the_requirement(model) -> None:
    made = venue(model)
    table = made.engine.what_if.explain(made.alice)
    entity = table["entities"][0]
    if model == "segregated_pm":
        (book,) = table["books"]
        roll = sum(row["charge_e10"] for row in book["roll"])
        loss = book["worst"] + roll  # below the delta threshold there is no delta charge
        assert entity["maintenance"] == -(-loss * 800_000 // 1_000_000) + book["held_lots"]
        assert book["parameters"]["name"] == "matrix" and len(book["parameters"]["sha256"]) == 64
        assert {row["move_ppm"] for row in book["scenarios"]} >= {-160_000, 0, 160_000, 5_000_000}
    elif model == "segregated_sm":
        assert entity["maintenance"] == sum(p["maintenance"] for p in table["positions"])
        costs = made.engine.exposure.scenario_totals(made.alice, 0, True)[4]
        assert entity["initial"] == sum(p["initial"] for p in table["positions"]) + costs
    else:
        assert entity["currency"] == "USD" and entity["initial"] >= entity["maintenance"] > 0
