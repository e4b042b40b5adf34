"""A redis-server of the operator's own, as it would be: TLS with generated certificates, users, AOF."""

import contextlib
import datetime
import ipaddress
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from persistence.redis_access import RedisAccess

ACL = (
    "resetchannels", "-@all", "~{margrave-fund}*", "+fcall", "+fcall_ro", "+function|load", "+xrange", "+xadd", "+hget",
    "+hset", "+hmget", "+hgetall", "+hkeys", "+hincrby", "+hdel", "+config|get",
)  # fmt: skip
"""What the fund worker's user needs; docs/security.md says the same."""


def binary() -> str:
    """redis-server, or the test is skipped."""
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("redis-server is not installed")
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def certificates(folder: Path) -> dict[str, Path]:
    """An authority, a server's certificate for 127.0.0.1, a client's, and another authority that nobody trusts."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    authority = _issue(folder, found, "ca", None)
    for name in ("server", "client"):
        _issue(folder, found, name, authority)
    _issue(folder, found, "stranger", None)
    return found


def _issue(folder, found, name, authority):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority[1] if authority else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
    )
    issuer_key = authority[0] if authority else key
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    issued_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = builder.add_extension(identifier, critical=False).add_extension(issued_by, critical=False)
    if authority is None:
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)
    else:
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    made = builder.sign(issuer_key, hashes.SHA256())
    found[name], found[name + "-key"] = folder / f"{name}.pem", folder / f"{name}.key"
    found[name].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    plain = serialization.NoEncryption()
    found[name + "-key"].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return key, subject


@contextlib.contextmanager
def secured(
    folder: Path, password: str = "correct horse", mutual: bool = True
) -> Iterator[tuple[int, dict[str, Path]]]:
    """(port, certificates) of a server that speaks TLS only and knows the user `margrave` only."""
    folder.mkdir(parents=True, exist_ok=True)
    pem, port = certificates(folder / "tls"), free_port()
    users = folder / "users.acl"
    users.write_text(f"user default off\nuser margrave on >{password.replace(' ', '_')} {' '.join(ACL)}\n")
    options = {
        "port": "0", "tls-port": str(port), "bind": "127.0.0.1", "dir": str(folder), "appendonly": "yes",
        "appendfsync": "always", "save": "", "aclfile": str(users), "tls-cert-file": str(pem["server"]),
        "tls-key-file": str(pem["server-key"]), "tls-ca-cert-file": str(pem["ca"]),
        "tls-auth-clients": "yes" if mutual else "no",
    }  # fmt: skip
    with open(folder / "server.log", "wb") as log:
        process = subprocess.Popen(
            [binary(), *(word for name, value in options.items() for word in (f"--{name}", value))],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
    try:
        _wait(port, process, folder / "server.log")
        yield port, pem
    finally:
        process.terminate()
        process.wait(10)


def _wait(port: int, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if process.poll() is not None:
            text = log.read_text()
            if "tls" in text.lower() and ("Bad directive" in text or "unsupported" in text.lower()):
                pytest.skip("this redis-server is built without TLS")
            raise RuntimeError(text)
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.02)
    raise RuntimeError(log.read_text())


def access(folder: Path, port: int, pem: dict[str, Path], **changes) -> RedisAccess:
    """The right way to reach it."""
    password = folder / "password"
    if not password.exists():
        password.write_text("correct_horse\n")
        password.chmod(0o600)
    settings = {
        "user": "margrave", "password_file": password, "ca": pem["ca"], "certificate": pem["client"],
        "key": pem["client-key"], **changes,
    }  # fmt: skip
    return RedisAccess(f"rediss://127.0.0.1:{port}", **settings)
