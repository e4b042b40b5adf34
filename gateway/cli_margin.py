"""`margrave margin explain`: a portfolio margined with every figure that the requirement is made of.

The portfolio comes from a file, or is an account of a venue, running or not: then the engine's own table comes first,
and the library's figures for the same positions beside it.
"""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from gateway.cli_account import run
from gateway.cli_margin_parameters import parameters
from gateway.cli_margin_plot import heat_maps
from gateway.cli_margin_venue import amount as _amount
from gateway.cli_margin_venue import show_comparison, show_engine
from gateway.cli_margin_venue import table_of as _table
from gateway.cli_output import FAILED, MISUSED, fail, out, print_json
from gateway.margin_case import comparison, shown_hashes
from margin_ext import models

app = typer.Typer(no_args_is_help=True)
app.command()(parameters)


@app.callback()
def margin() -> None:
    """Margin models on portfolios from files and on accounts of a venue."""


@app.command()
def explain(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="A portfolio (.json or TOML), or an account.")],
    json: Annotated[bool, typer.Option("--json", help="Every figure as one JSON object.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Write a heat map of P&L over price and vol moves, as SVG.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Data directory of the account's venue.")] = None,
    export: Annotated[Path | None, typer.Option(help="Write the account's portfolio as a case file (JSON).")] = None,
) -> None:
    """Scenario table, charges, worst scenario, initial and maintenance margin of a portfolio or an account."""
    place = Path(target)
    table: dict[str, Any] = {}
    if data_dir is None and not place.exists():
        fail(f"{target}: no such file; an account's venue is named with --data-dir", MISUSED)
    if place.is_file() or data_dir is None:
        if export is not None:
            fail("--export writes the portfolio of an account (name it with --data-dir)", MISUSED)
        case, result = _margined(str(place), lambda: models.load_case(place))
    else:
        account: str | int = int(target) if target.isdecimal() else target
        table = run(data_dir, "margin_table", account=account)
        if table["portfolio"] is None:
            _engine_alone(table, json, export or plot)
            return
        case, result = _margined(target, lambda: models.case(table["portfolio"]))
        if export is not None:
            _write(export, msgspec.json.format(msgspec.json.encode(table["portfolio"]), indent=2).decode() + "\n")
    _show(table, case, result, json, plot)


def _engine_alone(table: dict[str, Any], json: bool, file: Path | None) -> None:
    """An account that the library cannot express: the engine's table, no file and no comparison."""
    if file is not None:
        fail(f"{file}: {table['not_exportable']}", FAILED)
    if json:
        print_json({"engine": table})
        return
    show_engine(table)
    out.print(f"\nNo comparison: {table['not_exportable']}", markup=False)


def _margined(name: str, load: Any) -> tuple[models.Case, models.MarginResult]:
    try:
        case = load()
        return case, models.margin(case.portfolio, case.sets, **case.options)
    except (models.PortfolioError, models.ParameterError) as error:
        message = str(error)
        fail(message if message.startswith(name) else f"{name}: {message}", MISUSED)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"{path} could not be written: {error}", FAILED)


def _show(table: dict[str, Any], case: models.Case, result: models.MarginResult, json: bool, plot: Path | None) -> None:
    balances = models.balances(case.portfolio, case.sets)
    greeks = models.by_underlying(case.portfolio)
    sides, hashes = comparison(case, result), shown_hashes(case.sets)
    if plot is not None:
        try:
            plot.write_text(heat_maps(case.portfolio), encoding="utf-8")
        except OSError as error:
            fail(f"the plot could not be written: {error}", FAILED)
    if json:
        found = result.to_dict() | {"balances": balances, "greeks": msgspec.to_builtins(greeks)}
        if case.source is not None:
            found |= {"source": case.source, "comparison": sides, "venue_sha256": hashes}
        print_json(found | ({"engine": table} if table else {}))
        return
    if table:
        show_engine(table)
        out.print("\nThe library on the same portfolio", style="bold")
    for one in result.requirements:
        _explain(one)
    _greeks(greeks)
    _totals(result, balances)
    show_comparison(sides, hashes)


def _explain(one: models.Requirement) -> None:
    identity = one.parameter_set
    title = f"{one.scope} ({one.unit}), {identity.name} version {identity.version}, sha256 {identity.sha256[:16]}"
    out.print(f"\n{title}", style="bold", markup=False)
    if one.pnl is not None and one.loss is not None and len(one.scenarios) == len(one.pnl):
        table = _table("scenario", "weight", "P&L", "loss", "")
        for place, scenario in enumerate(one.scenarios):
            mark = "worst" if place == one.worst_scenario else ""
            table.add_row(
                scenario.label, f"{scenario.weight:.4g}", _amount(one.pnl[place]), _amount(one.loss[place]), mark
            )
        out.print(table)
    if one.position_initial is not None and one.position_maintenance is not None:
        table = _table("position", "initial", "maintenance")
        for row, initial, maintenance in zip(
            one.positions, one.position_initial, one.position_maintenance, strict=True
        ):
            table.add_row(f"row {row}", _amount(initial), _amount(maintenance))
        out.print(table)
    table = _table("figure", "initial", "maintenance")
    if one.scenarios:
        for name, value in {"worst scenario": one.worst, **one.scaled}.items():
            table.add_row(_words(name), _amount(value), _amount(value))
        table.add_row("factor", f"{one.initial_factor:g}", f"{one.maintenance_factor:g}")
    for name, charge in one.added.items():
        table.add_row(_words(name), _amount(charge.initial), _amount(charge.maintenance))
    table.add_row(f"requirement (book: {one.book})", _amount(one.initial), _amount(one.maintenance), style="bold")
    out.print(table)
    for name, value in one.figures.items():
        out.print(f"  {_words(name)}: {_amount(value)}", markup=False)
    for name, prices in (("bankruptcy price", one.bankruptcy_price), ("liquidation price", one.liquidation_price)):
        for price in prices:
            out.print(f"  {name}: {'none' if price is None else _amount(price)}", markup=False)


def _greeks(found: dict[str, models.UnderlyingGreeks]) -> None:
    if not found:
        return
    out.print("\nGreeks (USD; theta per year)", style="bold")
    table = _table("underlying", "delta coins", "gamma", "vega", "theta", "rho")
    for name, one in found.items():
        values = (one.delta_coins, one.gamma, one.vega, one.theta, one.rho)
        table.add_row(name, *(_amount(value) for value in values))
    out.print(table)
    for name, one in found.items():
        bounds = [f"to {days:g} d" for days in one.tenor_days] + [f"over {one.tenor_days[-1]:g} d"]
        tenors = ", ".join(f"{b} {_amount(v)}" for b, v in zip(bounds, one.vega_by_tenor, strict=True) if v)
        if tenors:
            out.print(f"  vega of {name}: {tenors}", markup=False)


def _totals(result: models.MarginResult, balances: dict[str, float]) -> None:
    out.print(f"\nTotals of {result.model}", style="bold", markup=False)
    table = _table("unit", "initial", "maintenance", "balance", "excess")
    for unit, total in result.totals.items():
        balance = balances.get(unit)
        held = ("", "") if balance is None else (_amount(balance), _amount(balance - total.initial))
        table.add_row(unit, _amount(total.initial), _amount(total.maintenance), *held)
    out.print(table)


def _words(name: str) -> str:
    return name.replace("_", " ")
