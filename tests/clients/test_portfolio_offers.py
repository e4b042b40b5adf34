"""An owner in trouble sells its portfolio to whoever bids best, before anybody takes it away."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.client import connect

from exchange import commands
from exchange.commands import CommandKind
from exchange.reasons import Reason
from tests.clients.test_margin import filled
from tests.clients.test_websocket import Client
from tests.clients.venue import CALL, INDEX, LINEAR, PERPETUAL, Account, Venue

CHANNEL, OWN = "portfolio_offers", "user.portfolio_offers"
FAIR = {PERPETUAL: 100_000, CALL: 0.42}


@pytest.fixture(autouse=True)
def calm(venue: Venue) -> None:
    for _ in range(2):  # a far move is taken with the second update
        venue.publish(INDEX)


def entered(venue: Venue, account: Account) -> Client:
    return Client(connect(venue.ws, compression=None)).login(account)


@pytest.fixture
def owner(venue: Venue, request: pytest.FixtureRequest) -> Iterator[Client]:
    """Long 300,000 USD of the perpetual, short two calls, on 2 BTC."""
    client = entered(venue, venue.account(f"owner-{request.node.name}", btc="2", usdc="0"))
    filled(venue, client, PERPETUAL, "buy", 300_000, INDEX)
    filled(venue, client, CALL, "sell", 2.0, 0.42)
    yield client
    client.connection.close()


@pytest.fixture
def bidders(venue: Venue, request: pytest.FixtureRequest) -> Iterator[list[Client]]:
    found = [entered(venue, venue.account(f"{name}-{request.node.name}")) for name in ("low", "high")]
    yield found
    for client in found:
        client.connection.close()


def refusal(client: Client, method: str, **params: Any) -> tuple[int, str]:
    error = client.call(method, **params)["error"]
    return error["code"], error["data"]["reason"]


def sizes(client: Client) -> dict[str, float]:
    return {one["instrument_name"]: one["size"] for one in client.result("private/get_positions")}


def test_the_best_bid_takes_everything_in_one_piece(venue: Venue, owner: Client, bidders: list[Client]) -> None:
    low, high = bidders
    low.result("public/subscribe", channels=[CHANNEL])
    owner.result("private/subscribe", channels=[OWN])
    maintenance = owner.result("private/get_account_summary", currency="BTC")["maintenance_margin"]
    offer = owner.result("private/offer_portfolio", seconds=30)
    assert {leg["instrument_name"]: (leg["direction"], leg["amount"]) for leg in offer["legs"]} == {
        PERPETUAL: ("buy", 300_000), CALL: ("sell", 2.0),
    }  # fmt: skip
    assert low.wait_for(CHANNEL) == {"type": "offered", **offer}
    number = offer["offer_id"]
    dear = low.result("private/bid_portfolio", offer_id=number, prices={PERPETUAL: 99_000, CALL: 0.44})
    cheap = high.result("private/bid_portfolio", offer_id=number, prices=json.dumps({PERPETUAL: 99_900, CALL: 0.42}))
    told = [owner.wait_for(OWN) for _ in range(2)]
    assert [(one["type"], one["bid_id"]) for one in told] == [("bid", dear["bid_id"]), ("bid", cheap["bid_id"])]
    # sealed: each bidder sees its own, the owner all, what costs least first
    assert low.result("private/get_portfolio_bids", offer_id=number) == [dear]
    assert owner.result("private/get_portfolio_bids", offer_id=number) == [cheap, dear]
    (public,) = (one for one in low.result("public/get_portfolio_offers") if one["offer_id"] == number)
    assert public == {**offer, "bids": 2}
    mark = owner.result("public/ticker", instrument_name=CALL)["mark_price"]
    perpetual = owner.result("public/ticker", instrument_name=PERPETUAL)["mark_price"]
    loss = 300_000 * (1 / 99_900 - 1 / perpetual) * INDEX + 2 * (0.42 - mark) * INDEX
    assert cheap["cost_usd"] == pytest.approx(loss, abs=0.01) and dear["cost_usd"] > cheap["cost_usd"]
    before = owner.result("private/get_account_summary", currency="BTC")["equity"]
    done = owner.result("private/accept_portfolio_bid", offer_id=number, bid_id=cheap["bid_id"])
    assert done["id"].startswith("BLOCK-") and {t["price"] for t in done["trades"]} == {99_900, 0.42}
    assert sizes(owner) == {} and sizes(high) == {PERPETUAL: 300_000, CALL: -2.0}
    after = owner.result("private/get_account_summary", currency="BTC")
    fees = sum(trade["fee"] for trade in done["trades"])
    assert before - after["equity"] == pytest.approx(cheap["cost_usd"] / INDEX + fees, abs=1e-6)
    assert after["maintenance_margin"] == 0 < maintenance
    assert low.wait_for(CHANNEL)["type"] == "sold"
    assert refusal(low, "private/get_portfolio_bids", offer_id=number) == (13020, "unknown_offer")
    assert venue.run(venue.core.engine.audit) == []


def test_a_part_may_be_offered_and_nothing_new_is_opened(owner: Client, bidders: list[Client]) -> None:
    bidder = bidders[0]
    number = owner.result("private/offer_portfolio", positions={PERPETUAL: 200_000})["offer_id"]
    bid = bidder.result("private/bid_portfolio", offer_id=number, prices={PERPETUAL: 99_950})
    # what is left by now is less than what was offered: the owner would be short
    bidder.result("private/buy", instrument_name=PERPETUAL, amount=150_000, price=100_000)
    owner.result("private/sell", instrument_name=PERPETUAL, amount=150_000, price=100_000)
    terms = {"offer_id": number, "bid_id": bid["bid_id"]}
    assert refusal(owner, "private/accept_portfolio_bid", **terms)[1] == "reduce_only_would_increase"
    assert sizes(owner)[PERPETUAL] == 150_000
    assert owner.result("private/cancel_portfolio_offer", offer_id=number) == "ok"
    again = owner.result("private/offer_portfolio", positions={PERPETUAL: 100_000})["offer_id"]
    bid = bidder.result("private/bid_portfolio", offer_id=again, prices={PERPETUAL: 99_950})
    owner.result("private/accept_portfolio_bid", offer_id=again, bid_id=bid["bid_id"])
    assert sizes(owner) == {PERPETUAL: 50_000, CALL: -2.0} and sizes(bidder)[PERPETUAL] == 250_000


def test_offers_end_by_themselves(venue: Venue, owner: Client, bidders: list[Client]) -> None:
    bidder = bidders[0]
    bidder.result("public/subscribe", channels=[CHANNEL])
    number = owner.result("private/offer_portfolio", seconds=5)["offer_id"]
    assert bidder.wait_for(CHANNEL)["type"] == "offered"
    sequencer, real = venue.gateway.sequencer, venue.gateway.sequencer.clock
    sequencer.clock = lambda: real() + 6 * 10**9
    try:
        venue.run(lambda: venue.gateway.submit(commands.record(CommandKind.TICK)))
        ended = bidder.wait_for(CHANNEL)
        assert (ended["type"], ended["offer_id"], len(ended["legs"])) == ("expired", number, 2)
        assert refusal(bidder, "private/bid_portfolio", offer_id=number, prices=FAIR) == (13020, "unknown_offer")
    finally:
        sequencer.clock = real
        time.sleep(0.1)


def test_refusals(venue: Venue, owner: Client, bidders: list[Client]) -> None:
    bidder = bidders[0]
    bad = {"seconds": 4}, {"seconds": 301}, {"positions": {PERPETUAL: 300_010}}, {"positions": {LINEAR: 1}}
    bad += {"positions": "no json"}, {"positions": {PERPETUAL: 5}}
    for params in bad:
        assert refusal(owner, "private/offer_portfolio", **params)[0] == -32602, params
    assert owner.call("private/offer_portfolio", positions={})["error"]["code"] == 10010
    assert bidder.call("private/offer_portfolio")["error"]["code"] == 10010
    number = owner.result("private/offer_portfolio")["offer_id"]
    assert refusal(owner, "private/offer_portfolio") == (11030, "offer_limit")
    offered = {"offer_id": number}
    assert refusal(owner, "private/bid_portfolio", **offered, prices=FAIR)[1] == Reason.OWN_GROUP.name.lower()
    for prices, code in (
        ({PERPETUAL: 100_000}, -32602), ({**FAIR, LINEAR: 1}, -32602), ({PERPETUAL: 100_000.1, CALL: 0.42}, 10043),
        ({PERPETUAL: 50_000, CALL: 0.42}, 10005),
    ):  # fmt: skip
        assert refusal(bidder, "private/bid_portfolio", **offered, prices=prices)[0] == code, prices
    poor = entered(venue, venue.account("poor-bidder", btc="0.01", usdc="0"))
    assert refusal(poor, "private/bid_portfolio", **offered, prices=FAIR)[0] == 10009
    poor.connection.close()
    bid = bidder.result("private/bid_portfolio", **offered, prices=FAIR)["bid_id"]
    assert refusal(bidder, "private/accept_portfolio_bid", **offered, bid_id=bid) == (13020, "unknown_offer")
    assert refusal(bidder, "private/cancel_portfolio_offer", **offered) == (13020, "unknown_offer")
    assert refusal(owner, "private/accept_portfolio_bid", **offered, bid_id=bid + 1) == (13020, "unknown_bid")
    assert bidder.result("private/cancel_portfolio_bid", **offered) == "ok"
    assert refusal(bidder, "private/cancel_portfolio_bid", **offered) == (13020, "unknown_bid")
    assert refusal(owner, "private/accept_portfolio_bid", **offered, bid_id=bid) == (13020, "unknown_bid")
    # a bidder who has lost its money meanwhile is refused by the engine, and nothing moves
    weak = venue.account("weak-bidder", btc="3", usdc="0")
    client = entered(venue, weak)
    bid = client.result("private/bid_portfolio", **offered, prices=FAIR)["bid_id"]
    filled(venue, client, PERPETUAL, "buy", 1_300_000, INDEX)
    before = sizes(owner)
    assert refusal(owner, "private/accept_portfolio_bid", **offered, bid_id=bid)[0] == 10009
    assert sizes(owner) == before
    client.connection.close()


def test_an_account_below_its_initial_margin_may_still_sell(venue: Venue, owner: Client, bidders: list[Client]) -> None:
    """Where it needs it most: the block takes risk off, so the lane's rule lets it pass."""
    bidder = bidders[1]
    index = INDEX
    while owner.result("private/get_account_summary", currency="BTC")["available_funds"] > 0:
        index -= 1_000
        venue.publish(index)
    summary = owner.result("private/get_account_summary", currency="BTC")
    assert summary["initial_margin"] > summary["margin_balance"] > summary["maintenance_margin"]
    number = owner.result("private/offer_portfolio")["offer_id"]
    mark = owner.result("public/ticker", instrument_name=CALL)["mark_price"]
    prices = {PERPETUAL: index - 100, CALL: round(mark * 2_000) / 2_000}
    bid = bidder.result("private/bid_portfolio", offer_id=number, prices=prices)
    owner.result("private/accept_portfolio_bid", offer_id=number, bid_id=bid["bid_id"])
    assert sizes(owner) == {}


def test_what_is_being_liquidated_is_no_longer_the_owners_to_sell(
    venue: Venue, owner: Client, bidders: list[Client]
) -> None:
    number = owner.result("private/offer_portfolio")["offer_id"]
    bid = bidders[1].result("private/bid_portfolio", offer_id=number, prices=FAIR)
    account_id = owner.result("private/get_account_summary", currency="BTC", extended=True)["id"]
    index = INDEX
    while not venue.run(lambda: venue.gateway.engine.desk.in_liquidation(account_id)):
        index -= 3_000
        venue.publish(index)
        venue.run(lambda: venue.gateway.submit(commands.record(CommandKind.TICK)))
    venue.publish(95_000)  # within the price band of the bid again
    venue.publish(95_000)
    assert refusal(owner, "private/accept_portfolio_bid", offer_id=number, bid_id=bid["bid_id"])[0] == 11098
    assert refusal(owner, "private/offer_portfolio") == (11098, "account_in_liquidation")
    assert len(sizes(owner)) == 2
