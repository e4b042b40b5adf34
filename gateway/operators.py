"""Operators: administrators by name, each with a secret of their own, so that two can be told from one.

The store keeps digests. The first two operators are made by whoever administers the venue; from then on two of them
together make or remove one, so that nobody becomes two alone.
"""

import hashlib
import hmac
import secrets

import msgspec

from gateway.admin_operations import AdminError
from gateway.credentials import CredentialStore, OperatorRecord

FOUNDERS = 2
MAX_OPERATORS = 1_000
MAX_NAME = 64


class Signature(msgspec.Struct, frozen=True):
    """Who asks for an operation."""

    name: str
    secret: str

    def __repr__(self) -> str:
        return f"Signature({self.name!r})"


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


class Operators:
    """The operators of a gateway.credentials.CredentialStore."""

    def __init__(self, store: CredentialStore):
        self._store = store

    def all(self) -> list[OperatorRecord]:
        """Every operator that there ever was, ascending number."""
        return list(self._store.operators)

    def active(self) -> list[OperatorRecord]:
        """Those that may act."""
        return [one for one in self._store.operators if one.active]

    def name_of(self, number: int) -> str:
        """An operator's name; its number where it is unknown here."""
        return next((one.name for one in self._store.operators if one.number == number), str(number))

    def number_of(self, signature: Signature) -> int:
        """The number of an operator that proves to be it; AdminError otherwise."""
        given, found = _digest(signature.secret), 0
        for one in self.active():
            # all are compared, so that the time tells nothing about which names there are
            if hmac.compare_digest(one.digest, given) & (one.name == signature.name):
                found = one.number
        if not found:
            raise AdminError("unknown_operator", "no operator of this name with this secret")
        return found

    def _signed(self, signatures: list[Signature]) -> None:
        if len(self.active()) < FOUNDERS:
            return
        if len({self.number_of(one) for one in signatures}) < FOUNDERS:
            raise AdminError("two_operators_needed", "two operators must sign: nobody may become two alone")

    def create(self, name: str, signatures: list[Signature]) -> tuple[int, str]:
        """(number, secret) of a new operator; the secret is known nowhere else."""
        self._signed(signatures)
        if not 0 < len(name) <= MAX_NAME or not name.isprintable():
            raise AdminError("bad_name", f"a name has 1 to {MAX_NAME} printable characters")
        if any(one.name == name for one in self.active()):
            raise AdminError("operator_exists", f"there is an operator {name!r}")
        if len(self.all()) >= MAX_OPERATORS:
            raise AdminError("limit_reached", f"at most {MAX_OPERATORS} operators over a venue's life")
        number, secret = len(self.all()) + 1, secrets.token_urlsafe(32)
        self._store.set_operators([*self.all(), OperatorRecord(number, name, _digest(secret))])
        return number, secret

    def remove(self, name: str, signatures: list[Signature]) -> None:
        """An operator may act no more; its number and name stay on record."""
        self._signed(signatures)
        if not any(one.name == name for one in self.active()):
            raise AdminError("unknown_operator", f"there is no operator {name!r}")
        self._store.set_operators(
            [
                msgspec.structs.replace(one, active=False) if one.active and one.name == name else one
                for one in self.all()
            ]
        )
