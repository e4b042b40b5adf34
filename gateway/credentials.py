"""Client credentials at rest: one encrypted file beside the journal, its key in a second file (mode 0600).

The journal knows account and key numbers only; secrets live here and are never logged or printed by `repr`.
"""

import os
import secrets
from pathlib import Path

import msgspec
from cryptography.fernet import Fernet, InvalidToken

STORE_NAME = "credentials.enc"
KEY_NAME = "credentials.key"
RESOURCES = ("account", "block_trade", "trade", "wallet")
FULL_SCOPES = ("account:read_write", "block_trade:read_write", "trade:read_write", "wallet:read_write")
MAX_KEYS = 1_000_000
MAX_WITHDRAWN = 10_000


class CredentialError(Exception):
    """The store cannot be read, or a change to it is refused."""


def _random_id() -> str:
    """A client id that no command line takes for an option."""
    while (found := secrets.token_urlsafe(8)).startswith("-"):
        continue
    return found


class Credential(msgspec.Struct, frozen=True):
    """One API key of an account; `scopes` is the most that a token of this key may carry."""

    client_id: str
    account_id: int
    key_id: int
    name: str
    secret: str
    scopes: tuple[str, ...] = FULL_SCOPES
    demo: bool = False
    """Handed out openly by a paper venue; never usable off loopback."""

    def __repr__(self) -> str:
        return f"Credential(client_id={self.client_id!r}, account_id={self.account_id}, key_id={self.key_id})"


class OperatorRecord(msgspec.Struct, frozen=True):
    """An operator at rest. Numbers are never given again."""

    number: int
    name: str
    digest: bytes
    active: bool = True


class _Store(msgspec.Struct):
    version: int = 1
    next_key_id: int = 1
    credentials: list[Credential] = []
    block_key: bytes = b""
    """Signs agreements to block trades; made when first needed."""
    signing_key: bytes = b""
    """Ed25519, signs what the venue says in public; made when first needed."""
    withdrawn: dict[str, int] = {}
    """Digests of signatures that their signers took back, until they end by themselves (ms)."""
    operators: list[OperatorRecord] = []


def check_scopes(scopes: tuple[str, ...]) -> tuple[str, ...]:
    """The scopes where each is `resource:read` or `resource:read_write`; CredentialError otherwise."""
    for scope in scopes:
        resource, _, access = scope.partition(":")
        if resource not in RESOURCES or access not in ("read", "read_write"):
            raise CredentialError(f"unknown scope {scope!r}")
    return scopes


def _write_private(path: Path, data: bytes) -> None:
    """Replace `path` atomically and durably with mode 0600."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        written = 0
        while written < len(data):
            written += os.write(descriptor, data[written:])
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class CredentialStore:
    """Credentials by client id; every change is on disk before the call returns."""

    def __init__(self, data_dir: Path | str):
        directory = Path(data_dir)
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / STORE_NAME
        self._fernet = Fernet(self._load_key(directory / KEY_NAME))
        self._state = self._load()
        self._by_client_id = {item.client_id: item for item in self._state.credentials}

    def _load_key(self, path: Path) -> bytes:
        if path.exists():
            if path.stat().st_mode & 0o077:
                raise CredentialError(f"{path} is readable by others: chmod 600 it")
            return path.read_bytes().strip()
        if self._path.exists():
            raise CredentialError(f"{self._path} exists but its key file {path} does not")
        key = Fernet.generate_key()
        _write_private(path, key)
        return key

    def _load(self) -> _Store:
        if not self._path.exists():
            return _Store()
        try:
            return msgspec.msgpack.decode(self._fernet.decrypt(self._path.read_bytes()), type=_Store)
        except (InvalidToken, msgspec.DecodeError) as error:
            raise CredentialError(f"{self._path} cannot be decrypted with its key file") from error

    def _save(self) -> None:
        self._state.credentials = list(self._by_client_id.values())
        _write_private(self._path, self._fernet.encrypt(msgspec.msgpack.encode(self._state)))

    def get(self, client_id: str) -> Credential | None:
        """The credential of a client id, or None."""
        return self._by_client_id.get(client_id)

    def of_account(self, account_id: int) -> list[Credential]:
        """The account's credentials, oldest first."""
        found = [item for item in self._by_client_id.values() if item.account_id == account_id]
        return sorted(found, key=lambda item: item.key_id)

    def all(self) -> list[Credential]:
        """Every credential, oldest first."""
        return sorted(self._by_client_id.values(), key=lambda item: item.key_id)

    def create(
        self,
        account_id: int,
        name: str = "default",
        scopes: tuple[str, ...] = FULL_SCOPES,
        demo: bool = False,
        client_id: str = "",
        secret: str = "",
    ) -> Credential:
        """A new key; id and secret are random unless given (a venue that hands out fixed demo keys)."""
        if len(self._by_client_id) >= MAX_KEYS:
            raise CredentialError("too many credentials")
        client_id = client_id or _random_id()
        if client_id in self._by_client_id:
            raise CredentialError(f"client id {client_id!r} exists")
        credential = Credential(
            client_id=client_id,
            account_id=account_id,
            key_id=self._state.next_key_id,
            name=name,
            secret=secret or secrets.token_urlsafe(32),
            scopes=check_scopes(tuple(scopes)),
            demo=demo,
        )
        self._state.next_key_id += 1
        self._by_client_id[client_id] = credential
        self._save()
        return credential

    def revoke(self, client_id: str) -> bool:
        """Remove a key; False where there was none."""
        if self._by_client_id.pop(client_id, None) is None:
            return False
        self._save()
        return True

    # operators

    @property
    def operators(self) -> list[OperatorRecord]:
        """Administrators by name, ascending number."""
        return self._state.operators

    def set_operators(self, operators: list[OperatorRecord]) -> None:
        """Replace the operators."""
        self._state.operators = operators
        self._save()

    # block trades

    def block_key(self) -> bytes:
        """The venue's secret for signatures of block trades."""
        if not self._state.block_key:
            self._state.block_key = secrets.token_bytes(32)
            self._save()
        return self._state.block_key

    def signing_key(self) -> bytes:
        """The venue's private key (Ed25519, 32 bytes) for what it says in public."""
        if not self._state.signing_key:
            self._state.signing_key = secrets.token_bytes(32)
            self._save()
        return self._state.signing_key

    def withdraw_signature(self, digest: str, expires_ms: int, now_ms: int) -> None:
        """Have a signature count no more; CredentialError where there are too many such."""
        kept = {one: until for one, until in self._state.withdrawn.items() if until >= now_ms}
        if len(kept) >= MAX_WITHDRAWN:
            raise CredentialError("too many signatures withdrawn")
        self._state.withdrawn = kept | {digest: expires_ms}
        self._save()

    def signature_withdrawn(self, digest: str) -> bool:
        """Whether a signature was taken back."""
        return digest in self._state.withdrawn
