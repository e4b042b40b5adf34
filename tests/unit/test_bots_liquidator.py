"""The liquidator's bids, and where the bots' logins come from."""

import asyncio
import json

import pytest

from loadtest.bots.account import Holding
from loadtest.bots.client import Client
from loadtest.bots.contracts import E8, Contract
from loadtest.bots.liquidator import Liquidator, LiquidatorSettings, Try, offer_for, reservation
from loadtest.bots.run import Key, logins, main, read_keys

SETTINGS = LiquidatorSettings(edge=0.1, initial_factor=1.5, use_of_funds=0.5, least_share=0.02)
AUCTION = {
    "auction_id": 7,
    "phase": 1,
    "currency": "BTC",
    "value": 1.0,
    "requirement": 1.2345678912,
    "price": 0.9,
}


def test_the_reservation_price_leaves_an_edge_and_may_be_negative() -> None:
    assert reservation(AUCTION, 0.1) == pytest.approx(0.87654321088)
    assert reservation(AUCTION | {"value": -0.5}, 0.1) < -0.5


def test_a_bid_fits_the_funds_and_the_wire() -> None:
    whole = offer_for(AUCTION, 100.0, 8, SETTINGS)
    assert whole is not None and whole.share == 1.0
    assert whole.limit == 0.87654321, "rounded down to the currency's decimals"
    part = offer_for(AUCTION, 1.0, 8, SETTINGS)
    assert part is not None and part.share == pytest.approx(0.5 / (1.5 * 1.2345678912), abs=1e-6)
    assert round(part.share * 1_000_000) / 1_000_000 == part.share
    assert offer_for(AUCTION, 1.0, 8, SETTINGS, largest_share=0.1).share == 0.1
    assert offer_for(AUCTION, 0.01, 8, SETTINGS) is None, "too small to be worth a bid"
    assert offer_for(AUCTION, -1.0, 8, SETTINGS) is None
    paid = offer_for(AUCTION | {"phase": 2, "value": -0.5}, 100.0, 6, SETTINGS)
    assert (paid.phase, paid.limit) == (2, -0.623457)


def test_a_share_is_halved_where_margin_was_the_reason_and_not_otherwise() -> None:
    async def work() -> list[float]:
        bot = Liquidator(Client("ws://localhost:1/"), SETTINGS)
        known = Try(phase=1)
        shares = []
        for reason in ("bidder_margin", "bidder_margin", "awaiting_lease"):
            bot._learn(known, reason)
            shares.append(known.largest_share)
        assert known.rest_until_s > 0.0
        return shares

    assert asyncio.run(work()) == [0.5, 0.25, 1.0]


def test_inventory_is_sold_in_slices_never_more_than_is_held() -> None:
    perpetual = Contract("P", "perpetual", "BTC", "BTC", True, "btc_usd", 50_000_000, (), 10 * E8, 10 * E8, 0.0, 0)

    async def slices() -> list[int]:
        bot = Liquidator(Client("ws://localhost:1/"), LiquidatorSettings(slice_share=0.1, slice_usd=50_000.0))
        sizes = (-2_000_000.0, 100_000.0, 60.0, 10.0, 5.0)
        return [bot.slice_e8(perpetual, Holding(size, 0.0), 100_000.0) // E8 for size in sizes]

    assert asyncio.run(slices()) == [50_000, 10_000, 10, 10, 0]


def test_keys_come_from_the_environment_a_file_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = [{"name": name, "client_id": name, "client_secret": "s"} for name in ("maker", "taker", "demo")]
    monkeypatch.setenv("SOME_KEYS", json.dumps(keys))
    found = read_keys("env:SOME_KEYS")
    assert [key.name for key in found] == ["maker", "taker", "demo"]
    (tmp_path / "keys.json").write_text(json.dumps({"keys": keys}))
    assert read_keys(str(tmp_path / "keys.json")) == found
    assert main(["--url", "ws://localhost:1/", "--keys", "env:SOME_KEYS"]) == 2
    assert "liquidator" in capsys.readouterr().err
    assert main(["--url", "ws://localhost:1/", "--keys", "env:NOT_SET"]) == 2
    assert "NOT_SET" in capsys.readouterr().err
    (tmp_path / "keys.json").write_text('{"keys": 5}')
    with pytest.raises(ValueError, match="no list of keys"):
        read_keys(str(tmp_path / "keys.json"))


def test_makers_have_an_account_each_and_takers_share() -> None:
    keys = [Key("maker", "a", ""), Key("maker2", "b", ""), Key("taker", "c", "")]
    assert [key.client_id for key in logins(keys, "maker", 2)] == ["a", "b"]
    assert [key.client_id for key in logins(keys, "taker", 3)] == ["c", "c", "c"]
    with pytest.raises(ValueError, match="3 makers need 3 keys"):
        logins(keys, "maker", 3)
    with pytest.raises(ValueError, match="liquidator"):
        logins(keys, "liquidator", 1)
    assert logins(keys, "liquidator", 0) == []
