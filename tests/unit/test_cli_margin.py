"""`margrave margin explain`: portfolios from files, figures as text and JSON, the plot, faults and exit status."""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from gateway import cli_margin, cli_margin_plot
from margin_ext import models
from tests.serving import margrave

EXAMPLE = {
    "parameters": "matrix_btc",
    "underlyings": [{"name": "BTC", "index_usd": 100000.0}],
    "currencies": [{"name": "BTC", "underlying": "BTC", "cash": 1.0}],
    "positions": [
        {"kind": "perpetual", "lots": 10000, "lot_size": 10},
        {
            "kind": "option",
            "option_type": "call",
            "strike": 110000,
            "days": 30,
            "vol": 0.6,
            "lots": -10,
            "lot_size": 0.1,
        },
    ],
}
TOML = """
parameters = "matrix_btc"
[[underlyings]]
name = "BTC"
index_usd = 100_000.0
[[currencies]]
name = "BTC"
underlying = "BTC"
cash = 1.0
[[positions]]
kind = "perpetual"
lots = 10_000
lot_size = 10
[[positions]]
kind = "option"
option_type = "call"
strike = 110_000
days = 30
vol = 0.6
lots = -10
lot_size = 0.1
"""


def written(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "book.json"
    path.write_text(json.dumps(EXAMPLE | changes))
    return path


def test_json_is_one_object_with_every_figure(tmp_path: Path) -> None:
    done = margrave("margin", "explain", written(tmp_path), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    (one,) = found["requirements"]
    case = models.load_case(written(tmp_path))
    result = models.margin(case.portfolio, case.sets)
    assert one["initial"] == result.requirements[0].initial == found["totals"]["BTC"]["initial"]
    assert one["pnl"] == result.requirements[0].pnl.tolist()
    assert one["scenarios"][one["worst_scenario"]]["label"] == "-16 % vol up"
    assert one["parameter_set"]["sha256"] == models.identity(models.shipped("matrix_btc")).sha256
    assert found["balances"]["BTC"] == pytest.approx(1 - 0.0327026, abs=1e-7)
    assert found["greeks"]["BTC"]["delta_coins"] == pytest.approx(0.68013, abs=1e-5)


def test_text_shows_table_charges_and_totals_and_toml_is_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "book.toml"
    path.write_text(TOML)
    done = margrave("margin", "explain", path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [re.sub(r" +", " ", line).strip() for line in done.stdout.splitlines()]
    assert "-16 % vol up 1 -0.180211293 0.180211293 worst" in lines
    assert "roll 0.01319865686 0.01319865686" in lines
    assert "requirement (book: all) 0.1934099498 0.1547279599" in lines
    assert any(line.startswith("BTC 0.1934099498 0.1547279599 0.967297395") for line in lines)


def test_the_plot_has_every_cell_and_its_colour(tmp_path: Path) -> None:
    book, plot = written(tmp_path), tmp_path / "book.svg"
    assert margrave("margin", "explain", book, "--plot", plot).returncode == 0
    root = ElementTree.parse(plot).getroot()
    space = {"s": "http://www.w3.org/2000/svg"}
    titles = {t.text: parent for parent in root.iterfind(".//s:rect", space) for t in parent.iterfind("s:title", space)}
    assert len(titles) == 41 * 21
    case = models.load_case(book)
    value = float(models.surface(case.portfolio, [-0.5], [1.5])[0, 0])
    assert f"price -50.0%, vol x 1.5: {value:,.2f} USD" in titles
    assert titles["price +0.0%, vol x 1: 0.00 USD"].get("fill") == "#f7f7f7"
    assert cli_margin_plot.colour(-1.0) == "#b2182b"
    assert cli_margin_plot.colour(1.0) == "#2166ac"
    texts = [t.text for t in root.iterfind(".//s:text", space)]
    assert "BTC: P&L in USD over moves of price and vol" in texts


def test_a_plot_that_cannot_be_written_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli_margin.explain(written(tmp_path), True, tmp_path / "absent" / "x.svg")
    shown = capsys.readouterr()
    assert (ended.value.code, shown.out) == (1, "")
    assert "the plot could not be written" in shown.err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameters": "absent"}, "parameters: 'absent' is neither a .toml file nor one of isolated"),
        ({"parameters": {"BTC": {"model": "matrix", "name": "x", "vol_up": 1}}}, "parameters.BTC: vol_up: no such"),
        ({"parameters": "absent.toml"}, "absent.toml: No such file"),
        ({"parameters": {"ETH": "matrix_eth"}}, "parameters: none for BTC"),
        ({"positions": [{"kind": "perp", "lots": 1}]}, "positions[0].kind: Invalid enum value 'perp'"),
        ({"positions": [{"kind": "option", "lots": 1}]}, "positions[0].option_type: missing"),
        ({"positions": [{"kind": "perpetual"}]}, "positions[0]: Object missing required field `lots`"),
        ({"positions": [{"kind": "perpetual", "lots": 1, "size": 1}]}, "positions[0].size: no such field"),
        ({"positions": [{"kind": "future", "lots": 1, "days": -1}]}, "positions[0].days: must be finite"),
        (
            {"positions": [{"kind": "perpetual", "lots": 1, "underlying": "SOL"}]},
            "positions[0].underlying: SOL is none",
        ),
        ({"parameters": "isolated"}, "positions[0].bucket: missing"),
        ({"credits": {"model": "span16_credits", "name": "x"}}, "credits: must be a set of model span16_credits"),
        ({"underlyings": [{"name": "BTC", "index_usd": -1.0}]}, "index_usd of BTC must be finite and positive"),
    ],
)
def test_bad_files_are_named_by_field(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    def margined(path: Path) -> None:
        case = models.load_case(path)
        models.margin(case.portfolio, case.sets, **case.options)

    with pytest.raises((models.PortfolioError, models.ParameterError), match=re.escape(message)):
        margined(written(tmp_path, **changes))


def test_bad_usage_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = margrave("margin", "explain", written(tmp_path, parameters={"ETH": "matrix_eth"}), "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "book.json: parameters: none for BTC" in done.stderr
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    for path in (tmp_path / "absent.toml", broken):
        with pytest.raises(SystemExit) as ended:
            cli_margin.explain(path, True)
        shown = capsys.readouterr()
        assert (ended.value.code, shown.out) == (2, "")
        assert path.name in shown.err


def test_every_model_can_be_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also a portfolio of two coins with sets by name, a credit, a file of one's own, and one without positions."""
    (tmp_path / "own.toml").write_text('model = "matrix"\nname = "own"\nnumeraire = "usd"\nhorizon_days = 1\n')
    both = [{"name": "BTC", "index_usd": 1e5}, {"name": "ETH", "index_usd": 4e3}]
    rows = [
        {"underlying": "BTC", "settlement": "USDC", "kind": "future", "days": 0.5, "lots": 2},
        {"underlying": "ETH", "settlement": "USDC", "kind": "perpetual", "lots": -30},
    ]
    legs = [
        {"underlying": "BTC", "ratio_ppm": 1_000_000, "side": "long"},
        {"underlying": "ETH", "ratio_ppm": 20_000_000, "side": "short"},
    ]
    pair = {"model": "span16_credits", "name": "p", "credits": [{"priority": 1, "legs": legs, "rate_ppm": 700_000}]}
    isolated = [{"kind": "perpetual", "lots": 100, "lot_size": 10, "bucket": 0.01, "leverage": 20}]
    for number, (changes, model, unit) in enumerate(
        [
            ({"parameters": "own.toml", "underlyings": both, "positions": rows}, "matrix", "USD"),
            (
                {"parameters": {"BTC": "own.toml", "ETH": "own.toml"}, "underlyings": both, "positions": rows},
                "matrix",
                "USD",
            ),
            ({"parameters": "span16", "credits": pair, "underlyings": both, "positions": rows}, "span16", "USD"),
            ({"parameters": "standard"}, "standard", "BTC"),
            ({"parameters": "isolated", "positions": isolated}, "isolated", "BTC"),
            ({"positions": []}, "matrix", None),
        ]
    ):
        path = written(tmp_path, **changes)
        case = models.load_case(path)
        result = models.margin(case.portfolio, case.sets, **case.options)
        assert result.model == model
        assert (unit in result.totals) if unit else not result.totals
        assert models.by_underlying(case.portfolio).keys() == {r["underlying"] for r in rows} or number >= 3
        cli_margin.explain(path, False, tmp_path / "x.svg")
        shown = capsys.readouterr().out
        for one in result.requirements:
            assert one.scope in shown
