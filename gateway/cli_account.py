"""`margrave account`: through the socket of a running venue, else offline with the same commands."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer
from rich.markup import escape

from gateway.admin import AdminClient
from gateway.admin_operations import OPERATIONS, AdminError
from gateway.cli_output import FAILED, MISUSED, fail, out, print_json
from gateway.credentials import CredentialStore
from gateway.gateway import Gateway
from gateway.venue_core import ADMIN_SOCKET, Core, InvariantBroken, VenueError, read_venue_record
from persistence.data_dir import DataDirectory
from persistence.errors import DataDirectoryError, JournalError

app = typer.Typer(no_args_is_help=True, help="Accounts and keys of a venue, running or not.")
DataDir = Annotated[Path, typer.Option("--data-dir", help="Data directory of the venue.")]
AsJson = Annotated[bool, typer.Option("--json", help="The result as one JSON object.")]
Call = Callable[..., Any]


@contextlib.contextmanager
def administration(data_dir: Path) -> Iterator[Call]:
    """A way to call operations: the running venue's, or one opened on its directory for this."""
    if read_venue_record(data_dir) is None:
        fail(f"{data_dir} is no data directory of a venue (start it once with `margrave serve`)", MISUSED)
    try:
        client = AdminClient(data_dir / ADMIN_SOCKET)
    except OSError:
        with _offline(data_dir) as call:
            yield call
        return
    with client:
        yield client.call


@contextlib.contextmanager
def _offline(data_dir: Path) -> Iterator[Call]:
    """Hold the directory's lock, replay, and journal what is done. Venue time stands still meanwhile."""
    directory = DataDirectory.open(data_dir)
    try:
        core = Core.open(directory, lambda last_ns: lambda: last_ns)
    except BaseException:
        directory.close()
        raise
    try:
        gateway = Gateway(core.engine, core.sequencer, CredentialStore(directory.path))

        def call(operation: str, **params: Any) -> Any:
            kind, handler = OPERATIONS[operation]
            return handler(gateway, msgspec.convert(params, kind))

        yield call
    finally:
        core.close(checkpoint=False)


def run(data_dir: Path, operation: str, **params: Any) -> Any:
    """The result of an operation; ends the command where it is refused or cannot be asked for."""
    try:
        with administration(data_dir) as call:
            return call(operation, **params)
    except AdminError as error:
        fail(f"refused: {error.reason}" + (f" ({error})" if str(error) != error.reason else ""), FAILED)
    except (DataDirectoryError, VenueError, msgspec.ValidationError) as error:
        fail(str(error), MISUSED)
    except (JournalError, InvariantBroken, ConnectionError, TimeoutError) as error:
        fail(str(error), FAILED)


def _deposits(words: list[str]) -> dict[str, str]:
    found = {}
    for word in words:
        currency, sign, amount = word.partition("=")
        if not (sign and currency and amount):
            fail(f"{word}: expected CURRENCY=AMOUNT", MISUSED)
        found[currency] = amount
    return found


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the new account.")],
    data_dir: DataDir,
    deposit: Annotated[list[str] | None, typer.Option(help="CURRENCY=AMOUNT in coins; repeatable.")] = None,
    margin_model: Annotated[
        Literal["segregated_pm", "cross_pm", "segregated_sm", "cross_sm"], typer.Option()
    ] = "segregated_pm",
    key: Annotated[str, typer.Option(help="Client id of its key; random if left out.")] = "",
    secret: Annotated[str, typer.Option(help="Client secret; random if left out.")] = "",
    json: AsJson = False,
) -> None:
    """Create an account with a key, and fund it. The secret is shown once, here."""
    result = run(
        data_dir,
        "create_account",
        name=name,
        margin_model=margin_model,
        deposits=_deposits(deposit or []),
        key={"name": name, "client_id": key, "client_secret": secret},
    )
    if json:
        print_json(result)
        return
    out.print(f"account {result['account_id']} {escape(name)}")
    for made in result["keys"]:
        out.print(f"  client_id {made['client_id']}  client_secret {made['client_secret']}", markup=False)


def _move(operation: str, data_dir: Path, account: str, amounts: list[str], json: bool) -> None:
    for currency, amount in _deposits(amounts).items():
        run(data_dir, operation, account=account, currency=currency, amount=amount)
    if json:
        print_json({"account": account, operation: _deposits(amounts)})
    else:
        out.print(f"{operation} {escape(account)}: {escape(', '.join(amounts))}")


Name = Annotated[str, typer.Argument(metavar="ACCOUNT", help="Name of the account.")]
Amounts = Annotated[list[str], typer.Argument(metavar="CURRENCY=AMOUNT...", help="In coins.")]


@app.command()
def deposit(account: Name, amounts: Amounts, data_dir: DataDir, json: AsJson = False) -> None:
    """Credit an account from outside."""
    _move("deposit", data_dir, account, amounts, json)


@app.command()
def withdraw(account: Name, amounts: Amounts, data_dir: DataDir, json: AsJson = False) -> None:
    """Pay out of an account, as far as its margin allows."""
    _move("withdraw", data_dir, account, amounts, json)


@app.command()
def keys(data_dir: DataDir, json: AsJson = False) -> None:
    """List the keys, without their secrets."""
    result = run(data_dir, "list_keys")
    if json:
        print_json({"keys": result})
        return
    for one in result:
        demo = "  demo" if one["demo"] else ""
        out.print(f"{one['client_id']:<24} account {one['account_id']:<6} {one['name']}{demo}", markup=False)


@app.command()
def revoke(
    client_id: Annotated[str, typer.Argument(help="Client id of the key.")],
    data_dir: DataDir,
    json: AsJson = False,
) -> None:
    """Revoke a key; its sessions lose their login."""
    result = run(data_dir, "revoke_key", client_id=client_id)
    if json:
        print_json({"revoked": client_id, "result": result})
    else:
        out.print(f"revoked {escape(client_id)}")


@app.command()
def stop(
    account: Annotated[str, typer.Argument(help="Number or name of the account.")],
    data_dir: DataDir,
    release: Annotated[bool, typer.Option("--release", help="Let it trade again.")] = False,
    keep_orders: Annotated[bool, typer.Option("--keep-orders", help="Leave its open orders where they are.")] = False,
    json: AsJson = False,
) -> None:
    """Stop an account from trading and cancel its orders (the kill switch), or release it."""
    result = run(
        data_dir, "kill_switch", scope="account", target=account, on=not release, cancel=not (release or keep_orders)
    )
    if json:
        print_json(result)
    elif release:
        out.print(f"released {escape(account)}")
    else:
        out.print(f"stopped {escape(account)}, {result['cancelled']} orders cancelled")
