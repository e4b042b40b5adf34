"""`margrave operator`, `margrave override` and `margrave margin announce`: what takes a named administrator."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer
from rich.markup import escape

from gateway.cli_account import AsJson, DataDir, run
from gateway.cli_output import MISUSED, fail, out, print_json
from gateway.operators import Signature

operators = typer.Typer(no_args_is_help=True, help="Administrators by name, for what takes two.")
overrides = typer.Typer(no_args_is_help=True, help="Overrides of marks: one proposes, another approves.")
By = Annotated[Path, typer.Option("--by", help="File with the secret of the operator who asks.")]
Signers = Annotated[
    list[Path] | None, typer.Option("--by", help="Files of two operators, once there are two; repeatable.")
]
Number = Annotated[int, typer.Argument(help="Number of the proposal.")]


def _signature(path: Path) -> dict[str, str]:
    """An operator's file: JSON with name and secret, readable by its owner alone."""
    try:
        if path.stat().st_mode & 0o077:
            fail(f"{path} is readable by others: chmod 600 it", MISUSED)
        found = msgspec.json.decode(path.read_bytes(), type=Signature)
    except OSError as error:
        fail(f"{path}: {error.strerror}", MISUSED)
    except msgspec.DecodeError as error:
        fail(f"{path} is no operator's file: {error}", MISUSED)
    return {"name": found.name, "secret": found.secret}


def _show(result: Any, text: str, json: bool) -> None:
    if json:
        print_json(result if isinstance(result, dict) else {"result": result})
    else:
        out.print(escape(text))


@operators.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Name of the new operator.")],
    data_dir: DataDir,
    file: Annotated[Path, typer.Option(help="Where its secret goes (mode 0600); it is shown nowhere else.")],
    by: Signers = None,
    json: AsJson = False,
) -> None:
    """Make an operator. The first two need nobody, later ones two operators."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        fail(f"{file}: {error.strerror}", MISUSED)
    try:
        made = run(data_dir, "create_operator", name=name, by=[_signature(one) for one in by or ()])
    except BaseException:
        os.close(descriptor)
        file.unlink()
        raise
    with os.fdopen(descriptor, "wb") as target:
        target.write(msgspec.json.encode({"name": name, "secret": made["secret"]}) + b"\n")
    shown = {"operator": made["operator"], "name": name, "file": str(file)}
    _show(shown, f"operator {made['operator']} {name}: secret in {file}", json)


@operators.command("list")
def list_operators(data_dir: DataDir, json: AsJson = False) -> None:
    """Everybody who is or was an operator."""
    found = run(data_dir, "operators")
    lines = (f"{one['operator']:<6} {one['name']}{'' if one['active'] else '  removed'}" for one in found)
    _show({"operators": found}, "\n".join(lines) or "no operators", json)


@operators.command("remove")
def remove(
    name: Annotated[str, typer.Argument(help="Name of the operator.")],
    data_dir: DataDir,
    by: Signers = None,
    json: AsJson = False,
) -> None:
    """An operator may act no more."""
    result = run(data_dir, "remove_operator", name=name, by=[_signature(one) for one in by or ()])
    _show(result, f"removed {name}", json)


@overrides.command("propose")
def propose(
    action: Annotated[Literal["accept_jump", "lift_stage", "resume", "set_index"], typer.Argument()],
    underlying: Annotated[str, typer.Argument(help="BTC, ETH, ...")],
    data_dir: DataDir,
    by: By,
    price: Annotated[float | None, typer.Option(help="USD: of set_index, and which held jump is meant.")] = None,
    stage: Annotated[Literal["live", "reduce_only"], typer.Option(help="Of lift_stage.")] = "live",
    seconds: Annotated[float, typer.Option(min=0, help="How long set_index and lift_stage hold.")] = 0.0,
    json: AsJson = False,
) -> None:
    """Propose an override."""
    made = run(
        data_dir,
        "propose_override",
        by=_signature(by),
        action=action,
        underlying=underlying,
        price=price,
        stage=("live", "reduce_only").index(stage),
        seconds=seconds,
    )
    _show(made, f"proposal {made['proposal']}: another operator approves it", json)


def _decided(word: str, data_dir: Path, by: Path, proposal: int, json: bool) -> None:
    result = run(data_dir, f"{word}_override", by=_signature(by), proposal=proposal)
    _show(result, f"{word}: proposal {proposal}", json)


@overrides.command("approve")
def approve(proposal: Number, data_dir: DataDir, by: By, json: AsJson = False) -> None:
    """Approve somebody else's proposal."""
    _decided("approve", data_dir, by, proposal, json)


@overrides.command("reject")
def reject(proposal: Number, data_dir: DataDir, by: By, json: AsJson = False) -> None:
    """Reject a proposal, or withdraw one's own."""
    _decided("reject", data_dir, by, proposal, json)


@overrides.command("revoke")
def revoke(proposal: Number, data_dir: DataDir, by: By, json: AsJson = False) -> None:
    """End an override that is in force."""
    _decided("revoke", data_dir, by, proposal, json)


def _terms(one: dict[str, Any]) -> str:
    """What an override does, for how long, and until when it holds or waits."""
    parts = [one["action"], one["underlying"]]
    if "price" in one:
        parts.append(f"{one['price']:,.10g} USD")
    if "stage" in one:
        parts.append(one["stage"])
    if one["duration_seconds"]:
        parts.append(f"for {one['duration_seconds']:g} s")
    until = datetime.fromtimestamp(one["until_timestamp"] / 1_000, UTC)
    return " ".join([*parts, f"until {until:%H:%M:%S} UTC"])


@overrides.command("list")
def list_overrides(data_dir: DataDir, json: AsJson = False) -> None:
    """State of the marks, proposals that wait and overrides in force."""
    found = run(data_dir, "governance")
    lines = [
        f"{one['index_name']:<12} {one['stage']}" + ("  index set by hand" if one["index_fixed"] else "")
        for one in found["marks"]
    ]
    for word in ("proposed", "in_force"):
        lines += [
            f"{word:<12} {one['proposal']}  {_terms(one)}  by {one['proposer']}"
            + (f", approved by {one['approver']}" if one["approver"] else "")
            for one in found[word]
        ]
    _show(found, "\n".join(lines), json)


def announce(
    underlying: Annotated[str, typer.Argument(help="BTC, ETH, ...")],
    scale: Annotated[float, typer.Argument(min=0.1, max=4, help="Of its sets' rates; the one in force withdraws.")],
    data_dir: DataDir,
    by: By,
    effective_ns: Annotated[int, typer.Option(min=0, help="Venue time, ns; 0: as soon as may be.")] = 0,
    json: AsJson = False,
) -> None:
    """Announce other margin rates of an underlying."""
    made = run(
        data_dir,
        "announce_margin",
        by=_signature(by),
        underlying=underlying,
        scale=scale,
        effective_ns=effective_ns,
    )
    _show(made, f"{underlying}: rates times {scale:g} from {made['effective_ns']} ns on", json)
