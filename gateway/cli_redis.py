"""Options of commands that talk to the insurance fund's server."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli_output import MISUSED, fail
from persistence.redis_access import RedisAccess, RedisAccessError

Url = Annotated[str, typer.Option("--redis", help="The insurance fund's server: redis://, rediss:// or unix://.")]
OwnUrl = Annotated[
    str | None, typer.Option("--redis", help="URL of the insurance fund's server instead of an embedded one.")
]
User = Annotated[str | None, typer.Option("--redis-user", help="User of its access control list.")]
PasswordFile = Annotated[Path | None, typer.Option("--redis-password-file", help="File (0600) with the password.")]
Ca = Annotated[Path | None, typer.Option("--redis-ca", help="PEM authorities to trust (default: the system's).")]
Certificate = Annotated[Path | None, typer.Option("--redis-certificate", help="PEM certificate of this client.")]
Key = Annotated[Path | None, typer.Option("--redis-key", help="PEM key of it.")]


def access(given: dict[str, Any]) -> RedisAccess | None:
    """What the options of a command say, None without --redis; ends the command where they make no sense."""
    names = ("user", "password_file", "ca", "certificate", "key")
    rest = {name: given[f"redis_{name}"] for name in names}
    if given["redis"] is None:
        if any(value is not None for value in rest.values()):
            fail("--redis-user, --redis-password-file and certificates go with --redis", MISUSED)
        return None
    found = RedisAccess(given["redis"], **rest)
    try:
        found.check()
    except RedisAccessError as error:
        fail(f"--redis: {error}", MISUSED)
    return found
