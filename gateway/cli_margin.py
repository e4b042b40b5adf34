"""`margrave margin explain`: a portfolio from a file, margined, with every figure that the requirement is made of."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from gateway.cli_margin_plot import heat_maps
from gateway.cli_output import FAILED, MISUSED, fail, out, print_json
from margin_ext import models

app = typer.Typer(no_args_is_help=True)


@app.callback()
def margin() -> None:
    """Margin models on portfolios from files; no venue is needed."""


@app.command()
def explain(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A portfolio: JSON (.json) or TOML.")],
    json: Annotated[bool, typer.Option("--json", help="Every figure as one JSON object.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Write a heat map of P&L over price and vol moves, as SVG.")] = None,
) -> None:
    """Scenario table, charges, worst scenario, initial and maintenance margin of a portfolio."""
    try:
        case = models.load_case(file)
        result = models.margin(case.portfolio, case.sets, **case.options)
    except (models.PortfolioError, models.ParameterError) as error:
        message = str(error)
        fail(message if message.startswith(str(file)) else f"{file}: {message}", MISUSED)
    balances = models.balances(case.portfolio, case.sets)
    greeks = models.by_underlying(case.portfolio)
    if plot is not None:
        try:
            plot.write_text(heat_maps(case.portfolio), encoding="utf-8")
        except OSError as error:
            fail(f"the plot could not be written: {error}", FAILED)
    if json:
        found = result.to_dict()
        print_json(found | {"balances": balances, "greeks": msgspec.to_builtins(greeks)})
        return
    for one in result.requirements:
        _explain(one)
    _greeks(greeks)
    _totals(result, balances)


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


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _words(name: str) -> str:
    return name.replace("_", " ")


def _amount(value: Any) -> str:
    """Thousands grouped; ten digits of small figures, cents of large ones."""
    number = float(value) + 0.0  # no minus before a zero
    return f"{number:,.2f}" if abs(number) >= 1_000 else f"{number:,.10g}"
