"""`margrave margin parameters FILE`: whether a venue signed what a file says of its margin parameters."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from gateway.cli_margin_venue import table_of
from gateway.cli_output import FAILED, MISUSED, fail, out, print_json
from gateway.library_sets import venue_hash
from gateway.parameter_signatures import SignatureFault, Signed, check
from margin_ext import models


def parameters(
    file: Annotated[Path, typer.Argument(help="Answer of public/get_margin_parameters with signed = true (JSON).")],
    key: Annotated[str | None, typer.Option(help="Public key of the venue that you know (base64).")] = None,
    json: Annotated[bool, typer.Option("--json", help="What was signed, as JSON.")] = False,
) -> None:
    """Check the venue's signature of its margin parameters, and the hash of each set."""
    try:
        answer = msgspec.json.decode(file.read_bytes())
        answer = answer.get("result", answer)
        signed = msgspec.convert(answer["signed"], Signed)
    except OSError as error:
        fail(f"{file}: {error.strerror}", MISUSED)
    except (ValueError, TypeError, AttributeError, KeyError):
        fail(f"{file}: no answer of public/get_margin_parameters with signed = true", MISUSED)
    try:
        found = check(signed, key)
    except SignatureFault as fault:
        fail(f"{file}: {fault}", FAILED)
    if {name: value for name, value in answer.items() if name != "signed"} not in ({}, found):
        fail(f"{file}: what stands beside the signed text is something else", FAILED)
    rows = list(_sets(file, found))
    if json:
        print_json(found)
        return
    out.print(f"{found['venue']}, command {found['seq']}: signed with {signed.public_key}", markup=False)
    table = table_of("underlying", "model", "set", "version", "scale", "announced")
    for underlying, model, own in rows:
        announced = underlying["announced_margin"]
        table.add_row(
            underlying["underlying"],
            model,
            own["name"],
            str(own["version"]),
            f"{underlying['margin_scale']:g}",
            "" if announced is None else f"{announced['scale']:g} at {announced['effective_timestamp']}",
        )
    out.print(table)
    if key is None:
        out.print("The key is the file's own: compare it with one that you have from elsewhere (--key).", markup=False)


def _sets(file: Path, found: dict[str, Any]) -> Any:
    """(underlying, model, set) of every set, those that the library knows having the hash that is said of them."""
    for underlying in found["underlyings"]:
        for model, own in underlying["models"].items():
            try:
                form = own["set"] and models.from_dict(own["set"])
            except models.ParameterError as error:
                fail(f"{file}: {underlying['underlying']} {model}: {error}", FAILED)
            if form and venue_hash(form, underlying["underlying"]) != own["sha256"]:
                fail(f"{file}: {underlying['underlying']} {model}: another set than its hash says", FAILED)
            yield underlying, model, own
