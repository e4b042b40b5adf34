"""Signatures of block trades: what one account agreed to, for the other to execute.

A signature is base64url of expiry (ms, 8 bytes), account (4 bytes), both big-endian, and HMAC-SHA256, under the venue's
key, of the canonical form: expiry, account, role, timestamp, nonce and the trades as the maker has them, in order.
That each side is used once is the engine's rule (the nonce); here is who said what, and until when.
"""

import base64
import binascii
import hashlib
import hmac
import struct

import msgspec

from exchange.payloads import BlockLeg
from gateway.credentials import CredentialStore
from gateway.errors import ApiError

VALID_MS = 300_000
_HEAD = struct.Struct(">QI")
_SIZE = _HEAD.size + hashlib.sha256().digest_size
_TEXT_BYTES = (_SIZE + 2) // 3 * 4


class Agreement(msgspec.Struct, frozen=True):
    """What is signed, apart from who signs it in which role."""

    timestamp_ms: int
    nonce: str
    trades: tuple[tuple[int, BlockLeg], ...]
    """(instrument_id, trade): a slot may be given to another instrument, its number never is."""

    def canonical(self, account_id: int, role: str, expires_ms: int) -> bytes:
        """The signed bytes."""
        legs = [[number, leg.side, leg.price_units, leg.quantity_lots] for number, leg in self.trades]
        return msgspec.msgpack.encode([expires_ms, account_id, role, self.timestamp_ms, self.nonce, legs])


def _mac(store: CredentialStore, agreement: Agreement, account_id: int, role: str, expires_ms: int) -> bytes:
    text = agreement.canonical(account_id, role, expires_ms)
    return hmac.new(store.block_key(), text, hashlib.sha256).digest()


def sign(store: CredentialStore, agreement: Agreement, account_id: int, role: str, now_ms: int) -> tuple[str, int]:
    """(signature, its end in ms) of an account in a role."""
    expires_ms = now_ms + VALID_MS
    mac = _mac(store, agreement, account_id, role, expires_ms)
    return base64.urlsafe_b64encode(_HEAD.pack(expires_ms, account_id) + mac).decode(), expires_ms


def read(signature: str) -> tuple[int, int, bytes]:
    """(expiry in ms, account, code) that a signature claims; 11050 where it is none."""
    try:
        raw = base64.b64decode(signature.encode("ascii"), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        raw = b""
    if len(raw) != _SIZE or len(signature) != _TEXT_BYTES:
        raise ApiError(11050, {"reason": "invalid_signature"})
    return (*_HEAD.unpack_from(raw), raw[_HEAD.size :])


def digest(signature: str) -> str:
    """How a withdrawn signature is remembered."""
    return hashlib.sha256(signature.encode()).hexdigest()


def signer(store: CredentialStore, signature: str, agreement: Agreement, role: str, now_ms: int) -> int:
    """The account that signed the agreement in a role; 11050 for every other signature."""
    expires_ms, account_id, mac = read(signature)
    if not hmac.compare_digest(mac, _mac(store, agreement, account_id, role, expires_ms)):
        raise ApiError(11050, {"reason": "invalid_signature"})
    if now_ms > expires_ms or store.signature_withdrawn(digest(signature)):
        raise ApiError(11050, {"reason": "signature_expired"})
    return account_id
