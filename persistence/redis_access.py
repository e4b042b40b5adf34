"""How to reach a Redis-compatible server: address, user, secret, TLS; and asyncio clients of it."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from persistence.errors import PersistenceError

SCHEMES = ("redis", "rediss", "unix")


class RedisAccessError(PersistenceError):
    """An address, secret or certificate that cannot be used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class RedisAccess:
    """unix://PATH, redis://HOST:PORT/DB or rediss://... (TLS: the server's certificate and name are always checked).

    `password_file` may be read by its owner only. `ca` replaces the system's authorities; `certificate` and `key` are
    this client's own, where the server asks for them.
    """

    url: str
    user: str | None = None
    password_file: Path | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def check(self) -> None:
        """RedisAccessError for what cannot be right."""
        parts = urlsplit(self.url)
        if parts.scheme not in SCHEMES or not (parts.netloc or parts.path):
            raise RedisAccessError(f"{self.shown}: expected redis://, rediss:// or unix:// and where the server is")
        for name in ("ca", "certificate", "key"):
            path = getattr(self, name)
            if path is not None and parts.scheme != "rediss":
                raise RedisAccessError(f"{path}: certificates are of rediss:// only")
            if path is not None and not os.access(path, os.R_OK):
                raise RedisAccessError(f"{path}: cannot be read")
        if (self.certificate is None) != (self.key is None):
            raise RedisAccessError("a client's certificate and its key go together")
        if self.password_file is not None and parts.password:
            raise RedisAccessError("give the password in the file or in the address, not in both")
        self._password()

    @property
    def shown(self) -> str:
        """The address without what stands before its @."""
        scheme, mark, rest = self.url.partition("://")
        return scheme + mark + rest.rpartition("@")[2]

    def _password(self) -> str | None:
        if self.password_file is None:
            return None
        try:
            if self.password_file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise RedisAccessError(f"{self.password_file}: others may read it; make it mode 0600")
            return self.password_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise RedisAccessError(f"{self.password_file}: {error}") from None

    def settings(self) -> dict[str, Any]:
        """Arguments of a connection beside the address."""
        found: dict[str, Any] = {"username": self.user, "password": self._password()}
        if self.url.startswith("rediss://"):
            found |= {
                "ssl_cert_reqs": "required",
                "ssl_check_hostname": True,
                "ssl_ca_certs": self.ca and str(self.ca),
                "ssl_certfile": self.certificate and str(self.certificate),
                "ssl_keyfile": self.key and str(self.key),
            }
        return {name: value for name, value in found.items() if value is not None}


def connect(
    access: RedisAccess | str, *, timeout_seconds: float = 2.0, retries: int = 3, max_connections: int = 8
) -> redis.asyncio.Redis:
    """An asyncio client, answers as str.

    At most max_connections are open; calls beyond them wait up to the timeout. A lost connection is made anew
    and the command sent again, so only commands that may be repeated belong on it: all of the fund's
    functions may.
    """
    access = RedisAccess(access) if isinstance(access, str) else access
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        access.url,
        max_connections=max_connections,
        timeout=timeout_seconds,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        decode_responses=True,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.01), retries),
        **access.settings(),
    )
    return redis.asyncio.Redis.from_pool(pool)
