"""The `margrave` command: serve, liquidator, verify, journal, account, fund, margin, operator,
override, bench, scenario.

Each takes `--json` (one object on standard output, nothing else there). Exit status 0 on success, 1 on a
failed check, 2 on bad usage.
"""

from importlib.metadata import version
from typing import Annotated

import typer

from gateway import cli_account, cli_fund, cli_governance, cli_margin
from gateway.cli_bench import bench
from gateway.cli_liquidator import liquidator
from gateway.cli_scenario import scenario
from gateway.cli_serve import serve
from gateway.cli_verify import journal, verify

app = typer.Typer(
    name="margrave",
    help="An open crypto-derivatives exchange: run a venue, prove its journal, measure it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"margrave {version('margrave')}")
        raise typer.Exit


@app.callback()
def margrave(
    version_: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """An open crypto-derivatives exchange: run a venue, prove its journal, measure it."""


app.command()(serve)
app.command()(verify)
app.command()(journal)
app.command()(liquidator)
app.command()(bench)
app.command()(scenario)
app.add_typer(cli_account.app, name="account")
app.add_typer(cli_margin.app, name="margin")
app.add_typer(cli_fund.app, name="fund")
app.add_typer(cli_governance.operators, name="operator")
app.add_typer(cli_governance.overrides, name="override")
cli_margin.app.command("announce")(cli_governance.announce)


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
