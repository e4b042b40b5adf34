"""Margin parameter sets of a venue's configuration: from TOML to the engine, refused by name, shown with hash."""

from pathlib import Path

import msgspec
import pytest

from exchange.parameters_span import SpanParameters
from exchange.risk.scenarios import columns, grids, span_names
from exchange.what_if import parameters_hash
from gateway import library_sets
from gateway.defaults import ConfigurationError, default_config, load_setup
from gateway.parameter_sets import engine_set
from margin_ext import models

GRID = """
model = "matrix"
name = "mine"
version = 7
price_range_ppm = 150_000
[[columns]]
move_ppm = -150_000
vol = "up"
[[columns]]
move_ppm = 200_000
[[columns]]
move_ppm = -500_000
vol = "up"
extended = true
weight_ppm = 250_000
"""
CREDITS = """
model = "span16_credits"
name = "pairs"
[[credits]]
priority = 1
rate_ppm = 500_000
legs = [
    { underlying = "BTC", ratio_ppm = 1_000_000, side = "long" },
    { underlying = "ETH", ratio_ppm = 25_000_000, side = "short" },
]
"""
STANDARD = """
model = "standard"
name = "cross"
cap_spreads = true
[[futures]]
underlying = "BTC"
[[futures.tiers]]
initial_ppm = 30_000
maintenance_ppm = 15_000
slope_ppb_per_coin = 50_000
"""


def setup(folder: Path, text: str, **files: str):
    """The configuration of a file with others beside it."""
    for name, content in files.items():
        (folder / f"{name}.toml").write_text(content)
    path = folder / "venue.toml"
    path.write_text(text)
    return load_setup(path, "test").config


def test_sets_are_shipped_files_or_tables(tmp_path: Path) -> None:
    text = (
        'span_credits = "credits.toml"\n[parameters]\nBTC = ["span16", "cross.toml"]\n[parameters.ETH]\n'
        'model = "span16"\nname = "eth"\nprice_scan_range_ppm = 180_000\n'
    )
    config = setup(tmp_path, text, credits=CREDITS, cross=STANDARD)
    btc, eth = config.underlyings
    assert (btc.span.name, btc.span.calendar[0].first, btc.standard.name) == ("span16", "near", "cross")
    assert (eth.span.name, eth.span.price_scan_range_ppm) == ("eth", 180_000)
    assert config.span_credits.credits[0].legs[1].ratio_ppm == 25_000_000
    # what a venue shows is found again from the library's set
    assert library_sets.venue_hash(models.shipped("span16"), "BTC") == parameters_hash(btc.span)


def test_a_grid_of_ones_own(tmp_path: Path) -> None:
    config = setup(tmp_path, '[parameters]\nETH = "mine.toml"\n', mine=GRID)
    btc, eth = config.underlyings
    own = columns(eth.matrix)
    assert [(one.move_ppm, one.vol, one.weight) for one in own[:3]] == [
        (-150_000, 1, (1, 1)),
        (200_000, 0, (1, 1)),
        (-500_000, 1, (250_000, 1_000_000)),
    ]
    assert len(own) == 8 and not any(one.weight[0] for one in own[3:])
    padded = grids(config.underlyings)
    assert [len(grid) for grid in padded] == [len(columns(btc.matrix))] * 2
    assert library_sets.venue_hash(models.loads(GRID), "ETH") == parameters_hash(eth.matrix)
    # a set without columns has the hash that it had before there were any
    assert b"columns" not in msgspec.msgpack.encode(btc.matrix)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[parameters]\nSOL = "span16"\n', "parameters.SOL: no such underlying; there are BTC, ETH"),
        ('[parameters]\nBTC = "spam16"\n', "parameters.BTC: 'spam16' is neither a .toml file nor one of"),
        ('[parameters]\nBTC = "gone.toml"\n', "parameters.BTC: "),
        ("parameters = 3\n", "parameters: must be a table"),
        ('[parameters.BTC]\nmodel = "span17"\n', "parameters.BTC: model: must be one of"),
        ('[parameters.BTC]\nmodel = "span16"\nname = "x"\nscan_ppm = 1\n', "parameters.BTC: scan_ppm: no such field"),
        (
            '[parameters.BTC]\nmodel = "span16"\nname = "x"\nvol_scan_kind = "per cent"\n',
            "parameters.BTC: vol_scan_kind: Invalid enum value 'per cent'",
        ),
        (
            '[parameters.BTC]\nmodel = "span16"\nname = "x"\nvol_scan_kind = "points"\nvol_scan_range_ppm = 1000000\n',
            "vol_scan_range_ppm: must be 0 to below 1,000,000",
        ),
        (
            '[parameters.BTC]\nmodel = "matrix"\nname = "x"\nfuture_clamp = "gains"\n',
            "parameters.BTC: future_clamp: the engine does nothing with 'gains'",
        ),
        ('[parameters.BTC]\nmodel = "isolated"\nname = "x"\ntiers = []\n', "parameters.BTC: tiers: at least one tier"),
        ('span_credits = "span16"\n', "span_credits: must be of model span16_credits"),
        ('span_credits = "pairs.toml"\n', "span_credits[0].legs: BTC is not margined by span16"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        setup(tmp_path, text, pairs=CREDITS)
    assert reason in str(refused.value)


def test_engine_sets_keep_every_field() -> None:
    assert engine_set(models.shipped("matrix_btc")) == msgspec.structs.replace(
        default_config("x").underlyings[0].matrix, name="matrix_btc"
    )
    span = engine_set(models.shipped("span16"))
    assert isinstance(span, SpanParameters)
    assert library_sets.span_set(span) == models.shipped("span16")
    assert b"vol_scan_kind" not in msgspec.msgpack.encode(span)  # the hash that sets had before there was a choice
    points = msgspec.structs.replace(models.shipped("span16"), vol_scan_kind="points")
    assert engine_set(points) == msgspec.structs.replace(span, vol_scan_kind="points")
    assert library_sets.span_set(engine_set(points)) == points
    hashes = {library_sets.venue_hash(one, "BTC") for one in (points, models.shipped("span16"))}
    assert len(hashes) == 2 and None not in hashes
    assert span_names(span)[2] == "+1/3 range, vol up"
    assert span_names(span)[14:] == ["+2 ranges, 35 % of it", "-2 ranges, 35 % of it"]
