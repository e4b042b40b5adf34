"""The venue's word on its margin parameters: Ed25519 signatures (RFC 8032), which anybody can check and show to others.

What is signed is a text (UTF-8), so that nobody has to spell numbers as the venue does: the answer of
`public/get_margin_parameters` as JSON.
"""

import base64
import binascii
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.credentials import CredentialStore

ALGORITHM = "ed25519"


class SignatureFault(ValueError):
    """A text that is not what the venue signed."""


class Signed(msgspec.Struct):
    """A text, its signature and the key to check it with, both base64."""

    text: str
    signature: str
    public_key: str
    algorithm: str = ALGORITHM


def sign(store: CredentialStore, document: dict[str, Any]) -> Signed:
    """The document under the venue's key."""
    key = Ed25519PrivateKey.from_private_bytes(store.signing_key())
    text = msgspec.json.encode(document, order="sorted")
    return Signed(
        text.decode(),
        base64.b64encode(key.sign(text)).decode(),
        base64.b64encode(key.public_key().public_bytes_raw()).decode(),
    )


def check(signed: Signed, public_key: str | None = None) -> dict[str, Any]:
    """The document that was signed; SignatureFault where it was not, or not with `public_key` (base64)."""
    if signed.algorithm != ALGORITHM:
        raise SignatureFault(f"unknown algorithm {signed.algorithm!r}")
    if public_key is not None and public_key != signed.public_key:
        raise SignatureFault(f"signed with the key {signed.public_key}, not {public_key}")
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(signed.public_key, validate=True))
        key.verify(base64.b64decode(signed.signature, validate=True), signed.text.encode())
        found = msgspec.json.decode(signed.text)
    except (binascii.Error, ValueError) as error:
        raise SignatureFault(f"no key, signature or text: {error}") from None
    except InvalidSignature:
        raise SignatureFault("the signature is not one of this text") from None
    if not isinstance(found, dict):
        raise SignatureFault("the text is no answer of a venue")
    return found
