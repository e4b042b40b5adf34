"""Parameter sets from TOML and back to bytes: loading with clear errors, canonical bytes, hash, what is shipped."""

import hashlib
import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from margin_ext.models.parameters import MatrixSet, Parameters
from margin_ext.models.parameters_formula import CreditSet, IsolatedSet, ParameterSet, SpanSet, StandardSet

MODELS: dict[str, type[Parameters]] = {
    "matrix": MatrixSet,
    "span16": SpanSet,
    "span16_credits": CreditSet,
    "standard": StandardSet,
    "isolated": IsolatedSet,
}
_SETS = resources.files("margin_ext.models") / "sets"


class ParameterError(ValueError):
    """A parameter set that cannot be used; the message is "field path: reason"."""


class Identity(msgspec.Struct, frozen=True):
    """What identifies a parameter set; `sha256` is of its canonical bytes, in hex."""

    name: str
    version: int
    model: str
    sha256: str


def canonical_bytes(parameters: ParameterSet) -> bytes:
    """msgpack with every field, defaults too, keys sorted."""
    return msgspec.msgpack.encode(parameters, order="sorted")


def identity(parameters: ParameterSet) -> Identity:
    """Name, version, model and hash of a set."""
    model = str(parameters.__struct_config__.tag)
    digest = hashlib.sha256(canonical_bytes(parameters)).hexdigest()
    return Identity(parameters.name, parameters.version, model, digest)


def from_dict(values: dict[str, Any]) -> ParameterSet:
    """A set from plain values (`model` says which). ParameterError names the field and the reason."""
    model = values.get("model")
    if not isinstance(model, str) or model not in MODELS:
        raise ParameterError(f"model: must be one of {', '.join(MODELS)}, not {model!r}")
    try:
        found = msgspec.convert(values, MODELS[model])
    except msgspec.ValidationError as error:
        raise ParameterError(path_first(str(error))) from None
    return checked(found)


def checked(parameters: ParameterSet) -> ParameterSet:
    """The set itself, when nothing is wrong with it; ParameterError otherwise."""
    faults = parameters.faults()
    if faults:
        raise ParameterError("; ".join(f"{path}: {reason}" for path, reason in faults))
    return parameters


def loads(text: str) -> ParameterSet:
    """A set from TOML text."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ParameterError(f"not TOML: {error}") from None
    return from_dict(values)


def load(path: str | Path) -> ParameterSet:
    """A set from a TOML file; ParameterError names the file."""
    try:
        return loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ParameterError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, ParameterError) as error:
        raise ParameterError(f"{path}: {error}") from None


def shipped_names() -> list[str]:
    """Names of the sets that come with the package, sorted."""
    return sorted(entry.name[: -len(".toml")] for entry in _SETS.iterdir() if entry.name.endswith(".toml"))


def shipped(name: str) -> ParameterSet:
    """A set that comes with the package, by name."""
    if name not in shipped_names():
        raise ParameterError(f"no shipped set {name!r}; there are {', '.join(shipped_names())}")
    return loads((_SETS / f"{name}.toml").read_text(encoding="utf-8"))


def schema(model: str) -> dict[str, Any]:
    """JSON schema of a model's sets."""
    return msgspec.json.schema(MODELS[model])


def path_first(message: str) -> str:
    """msgspec's "reason - at `$.a.b`" as "a.b: reason"."""
    reason, _, path = message.partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", reason)
    if unknown:
        path, reason = ".".join(filter(None, (path, unknown[1]))), "no such field"
    return f"{path or 'set'}: {reason}"
