"""Parameter sets: what is shipped, what is refused and how the fault is named, canonical bytes and hash."""

import hashlib
import re
from pathlib import Path

import msgspec
import pytest

from exchange.config import MatrixParameters
from exchange.risk import scenarios as engine_grid
from gateway.defaults import default_config
from margin_ext.models import (
    ParameterError,
    canonical_bytes,
    from_dict,
    identity,
    load,
    loads,
    matrix_columns,
    schema,
    shipped,
    shipped_names,
)
from margin_ext.models.parameter_files import MODELS
from margin_ext.models.parameters import Skew

# A parameter set that changes must change its version: these are the published ones.
PUBLISHED = {
    ("isolated", 1): "3a33601ecd82ada338d5c7781e433a68b3ec3d4d241772527aeca759eda93667",
    ("matrix_btc", 1): "fb25ceb856fe244d7a9db2b76e04e80861b4e26faefefc1fbea542ad3de09ffc",
    ("matrix_eth", 1): "776b4ac208f33f4805104ad0d3c796c0de19064ca28a3f39bd0c3dd44cd4f653",
    ("span16", 1): "b1d524ca579707e8ae8eaaeaef412fd007190852cebe95dde4100ccb7253b098",
    ("standard", 1): "a7fe2c46ebd3d91441861d21f46bc5844f1c5de4a3aaab4a26bd3917a7c0fc66",
}


def test_the_shipped_sets_are_the_published_ones() -> None:
    found = {(i.name, i.version): i.sha256 for i in (identity(shipped(name)) for name in shipped_names())}
    assert found == PUBLISHED
    assert [shipped(name).name for name in shipped_names()] == shipped_names()


def test_the_shipped_grids_are_those_of_the_default_venue() -> None:
    """Same values field by field, so that library and venue answer the same."""
    engine = {one.name: one.matrix for one in default_config("venue").underlyings}
    for name, parameters in (("matrix_btc", engine["BTC"]), ("matrix_eth", engine["ETH"])):
        ours = shipped(name)
        for field, value in msgspec.structs.asdict(parameters).items():
            if field not in ("name", "version"):
                wanted = {"columns": ()}.get(field) if value is msgspec.UNSET else value  # what a set does not have
                assert getattr(ours, field) == wanted, field


def test_columns_are_the_engines() -> None:
    names = {0: "same", 1: "up", 2: "down"}
    parameters = MatrixParameters()
    engine = [c for c in engine_grid.columns(parameters) if c.weight[0]]
    ours = matrix_columns.scenarios(shipped("matrix_btc"))
    assert len(ours) == len(engine) == 35
    for one, other in zip(ours, engine, strict=True):
        assert (one.move, one.vol, one.extended) == (other.move_ppm / 1e6, names[other.vol], other.extended)
        assert one.weight == other.weight[0] / other.weight[1]
        assert one.coin_factor == other.coin_factor[0] / other.coin_factor[1]
        assert one.dampener_ratio == other.dampener[0] / other.dampener[1]


@pytest.mark.parametrize("name", ["isolated", "matrix_btc", "span16", "standard"])
def test_canonical_bytes_carry_every_field_and_come_back(name: str) -> None:
    one = shipped(name)
    data = canonical_bytes(one)
    decoded = msgspec.msgpack.decode(data)
    assert list(decoded) == sorted(decoded)
    said = {field for field in one.__struct_fields__ if getattr(one, field) is not msgspec.UNSET}
    assert set(decoded) == said | {"model"}
    assert from_dict(decoded) == one
    assert identity(one).sha256 == hashlib.sha256(data).hexdigest()


def test_the_hash_sees_every_value_and_not_the_spelling() -> None:
    short = loads('model = "matrix"\nname = "a"')
    spelt = loads('version = 1\nname = "a"\nmodel = "matrix"\nprice_range_ppm = 160_000')
    other = loads('model = "matrix"\nname = "a"\nprice_range_ppm = 160_001')
    nested = loads('model = "matrix"\nname = "a"\n[skew]\n')
    assert identity(short) == identity(spelt)
    assert len({identity(one).sha256 for one in (short, other, nested)}) == 3
    crowded = [loads(f'model = "span16"\nname = "a"\n{more}') for more in ("", "[concentration]\n")]
    assert len({identity(one).sha256 for one in crowded}) == 2
    assert nested.skew == Skew()


FAULTS = {
    'name = "a"': "model: must be one of matrix, span16, span16_credits, standard, isolated, not None",
    'model = "matrix"': "name",
    'model = "matrix"\nname = "a"\nprice_range_ppm = 0': "price_range_ppm: Expected `int`",
    'model = "matrix"\nname = "a"\nprice_range_ppm = 0.5': "price_range_ppm: Expected `int`, got `float`",
    'model = "matrix"\nname = "a"\nvol_up = 1': "vol_up: no such field",
    'model = "matrix"\nname = "a"\n[skew]\nwidth = 1': "skew.width: no such field",
    'model = "matrix"\nname = "a"\nextended_moves_ppm = [100, -1_000_000]': "extended_moves_ppm[1]: Expected",
    'model = "matrix"\nname = "a"\nextended_moves_ppm = [0]': "extended_moves_ppm: a move must not be zero",
    'model = "matrix"\nname = "a"\nprice_steps_per_side = 8\nextended_moves_ppm = [' + "1," * 14 + "]": (
        "extended_moves_ppm: 65 scenarios, at most 64"
    ),
    'model = "matrix"\nname = "a"\n[[columns]]\nmove_ppm = 0\nextended = true': "columns[0].move_ppm: an extended",
    'model = "matrix"\nname = "a"\nextended_moves_ppm = [1]\n[[columns]]\nmove_ppm = 0': "extended_moves_ppm: must be",
    'model = "matrix"\nname = "a"\nmaintenance_factor_ppm = 2_000_000': "maintenance_factor_ppm: must not be above",
    'model = "matrix"\nname = "a"\nfuture_maintenance_ppm = 2': "future_maintenance_ppm: must not be above",
    'model = "matrix"\nname = "a"\n[peg]\nloss_factor_ppm = 2': "peg.loss_factor_ppm: needs numeraire = 'usd'",
    'model = "matrix"\nname = "a"\naggregation = "scenario"': "aggregation: 'scenario' needs numeraire",
    'model = "matrix"\nname = "a"\nnumeraire = "usd"\n[peg]\ntiers = [{above_usd = 5, rate_ppm = 1}]': (
        "peg.tiers[0]: the first tier must start at 0"
    ),
    'model = "span16"\nname = "a"\nextreme_multiple_ppm = 7_000_000': "extreme_multiple_ppm: the extreme move",
    'model = "span16"\nname = "a"\ndelta_weights_ppm = [1]': "delta_weights_ppm: must be 7",
    'model = "span16"\nname = "a"\n[[calendar]]\npriority = 1\nfirst = "x"\nsecond = "x"\nrate_ppm = 1': (
        "calendar[0].first: no tier 'x'"
    ),
    'model = "span16"\nname = "a"\ntiers = [{name="x",from_days=0,to_days=9},{name="y",from_days=8,to_days=9}]': (
        "tiers: must not overlap"
    ),
    'model = "span16_credits"\nname = "a"\n[[credits]]\npriority = 1\nrate_ppm = 1\nlegs = []': "credits[0].legs: must",
    'model = "standard"\nname = "a"\nfutures = [{underlying = "BTC", tiers = []}]': "futures[0].tiers: at least one",
    'model = "standard"\nname = "a"\ncall_maintenance_ppm = 100_001\nfutures = []': "call_maintenance_ppm: with",
    'model = "isolated"\nname = "a"\ntiers = []': "tiers: at least one tier",
    'model = "isolated"\nname = "a"\ntiers = [{above_usd = 0, initial_ppm = 5, maintenance_ppm = 6}]': (
        "tiers[0].maintenance_ppm: must not be above initial_ppm"
    ),
    'model = "isolated"\nname = "a"\ntiers = [{above_usd = 0, initial_ppm = 5, maintenance_ppm = 5},'
    "{above_usd = 1, initial_ppm = 5, maintenance_ppm = 4}]": "tiers[1].maintenance_ppm: must not fall",
    "model = ": "not TOML",
}


@pytest.mark.parametrize("text", FAULTS, ids=range(len(FAULTS)))
def test_a_fault_is_named_by_path_and_reason(text: str) -> None:
    with pytest.raises(ParameterError, match=re.escape(FAULTS[text])):
        loads(text)


def test_a_file_is_named_with_its_fault(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('model = "isolated"\nname = "own"\ntiers = []\n')
    with pytest.raises(ParameterError, match=r"own\.toml: tiers: at least one tier"):
        load(path)
    with pytest.raises(ParameterError, match=r"absent\.toml"):
        load(tmp_path / "absent.toml")
    with pytest.raises(ParameterError, match="no shipped set 'absent'; there are isolated, matrix_btc"):
        shipped("absent")


@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_a_schema(model: str) -> None:
    found = schema(model)
    properties = found["$defs"][MODELS[model].__name__]["properties"]
    assert properties["model"] == {"enum": [model]}
    assert set(properties) == set(MODELS[model].__struct_fields__) | {"model"}
