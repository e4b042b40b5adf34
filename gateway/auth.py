"""Who is asking: grants, tokens and signed requests. All times here are wall time, never venue time.

Formulas (Deribit API v2): `client_signature` signs "{ts}\\n{nonce}\\n{data}"; the `deri-hmac-sha256` header
signs "{ts}\\n{nonce}\\n{METHOD}\\n{path?query}\\n{body}\\n"; both as hex
HMAC-SHA256 under the client secret.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections import OrderedDict

import msgspec

from gateway.credentials import RESOURCES, Credential, CredentialStore
from gateway.errors import ApiError, invalid_param
from gateway.settings import Settings

_SECOND_NS = 1_000_000_000
_NO_SECRET = secrets.token_urlsafe(32)


class Principal(msgspec.Struct, frozen=True):
    """An authenticated key with the scopes it may use now."""

    account_id: int
    key_id: int
    client_id: str
    scopes: frozenset[str]
    scope_text: str = ""
    session_name: str = ""

    def allows(self, scope: str) -> bool:
        """Whether `resource:read` or `resource:read_write` is granted (read_write includes read)."""
        if scope in self.scopes:
            return True
        resource, _, access = scope.partition(":")
        return access == "read" and f"{resource}:read_write" in self.scopes


class Grant(msgspec.Struct):
    """An issued token pair."""

    principal: Principal
    access_token: str
    refresh_token: str
    expires_wall_ns: int
    connection_bound: bool


def unauthorized(reason: str) -> ApiError:
    """13009 with the reason that clients look for."""
    return ApiError(13009, {"reason": reason})


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def granted_scopes(credential: Credential, requested: str) -> frozenset[str]:
    """What a key gets for a scope request: the named resources, never more than the key has."""
    allowed = set(credential.scopes)
    named = [word for word in requested.split() if word.partition(":")[0] in RESOURCES]
    if not named:
        return frozenset(allowed)
    granted = set()
    for word in named:
        resource, _, access = word.partition(":")
        if access == "read_write" and f"{resource}:read_write" in allowed:
            granted.add(f"{resource}:read_write")
        elif access in ("read", "read_write") and {f"{resource}:read", f"{resource}:read_write"} & allowed:
            granted.add(f"{resource}:read")
    return frozenset(granted)


class Authenticator:
    """Checks credentials and signatures, issues tokens (held by their digest, bounded in number)."""

    def __init__(self, credentials: CredentialStore, settings: Settings, sessions_per_key: int = 64):
        self._credentials = credentials
        self._settings = settings
        self._sessions_per_key = sessions_per_key
        self._access: OrderedDict[bytes, Grant] = OrderedDict()
        self._refresh: dict[bytes, Grant] = {}
        self._named: dict[tuple[str, str], Grant] = {}
        self._seen: OrderedDict[bytes, int] = OrderedDict()

    def client_credentials(self, client_id: str, client_secret: str) -> Credential:
        """The credential whose secret matches; 13004 otherwise, in the same time for unknown ids."""
        credential = self._credentials.get(client_id)
        expected = credential.secret if credential else _NO_SECRET
        matches = hmac.compare_digest(expected.encode(), client_secret.encode("utf-8", "surrogatepass"))
        if credential is None or not matches:
            raise ApiError(13004)
        return credential

    def signature(
        self, client_id: str, timestamp_ms: str, nonce: str, text: str, signature: str, now_ns: int
    ) -> Credential:
        """The credential that signed `text`; the time must be near wall time, a signature serves once."""
        credential = self._credentials.get(client_id)
        secret = credential.secret if credential else _NO_SECRET
        message = text.encode("utf-8", "surrogatepass")
        expected = hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
        matches = hmac.compare_digest(expected.encode(), signature.lower().encode("utf-8", "surrogatepass"))
        if credential is None or not matches:
            raise ApiError(13004)
        try:
            skew_ns = abs(int(timestamp_ms) * 1_000_000 - now_ns)
        except ValueError:
            raise invalid_param("timestamp", "wrong format") from None
        if skew_ns > self._settings.auth_window_seconds * _SECOND_NS:
            raise ApiError(13004, {"reason": "timestamp_out_of_window"})
        self._use_once(f"{client_id}\n{timestamp_ms}\n{nonce}\n{signature}", now_ns)
        return credential

    def _use_once(self, text: str, now_ns: int) -> None:
        seen, window_ns = self._seen, 2 * self._settings.auth_window_seconds * _SECOND_NS
        while seen:
            digest, used_ns = next(iter(seen.items()))
            if now_ns - used_ns <= window_ns:
                break
            del seen[digest]
        digest = _digest(text)
        if digest in seen:
            raise ApiError(13004, {"reason": "nonce_reused"})
        if len(seen) >= self._settings.max_nonces:
            raise ApiError(10028, {"wait": 1})
        seen[digest] = now_ns

    def issue(self, credential: Credential, scope: str, now_ns: int, websocket: bool) -> Grant:
        """A token pair for a credential within the requested scope."""
        words = scope.split()
        session_name = next((word[8:] for word in words if word.startswith("session:")), "")
        lifetime_s = self._settings.token_seconds
        for word in words:
            if word.startswith("expires:"):
                if not word[8:].isdecimal() or int(word[8:]) == 0:
                    raise invalid_param("scope", "wrong format of expires")
                lifetime_s = min(lifetime_s, int(word[8:]))
        scopes = granted_scopes(credential, scope)
        session = f"session:{session_name}" if session_name else "connection"
        text = " ".join([*sorted(scopes), session, "mainaccount"])
        principal = Principal(
            credential.account_id, credential.key_id, credential.client_id, scopes, text, session_name
        )
        return self._register(principal, now_ns + lifetime_s * _SECOND_NS, websocket and not session_name)

    def _register(self, principal: Principal, expires_wall_ns: int, connection_bound: bool) -> Grant:
        grant = Grant(
            principal, secrets.token_urlsafe(32), secrets.token_urlsafe(32), expires_wall_ns, connection_bound
        )
        if principal.session_name:
            name = (principal.client_id, principal.session_name)
            previous = self._named.get(name)
            if previous is not None:
                self.revoke(previous)
            elif sum(key[0] == principal.client_id for key in self._named) >= self._sessions_per_key:
                raise ApiError(10066, {"reason": "too_many_sessions"})
            self._named[name] = grant
        while len(self._access) >= self._settings.max_tokens:
            self.revoke(next(iter(self._access.values())))
        self._access[_digest(grant.access_token)] = grant
        self._refresh[_digest(grant.refresh_token)] = grant
        return grant

    def refresh(self, refresh_token: str, now_ns: int) -> Grant:
        """A new pair for a refresh token; the old pair dies."""
        grant = self._refresh.get(_digest(refresh_token))
        if grant is None or self._credentials.get(grant.principal.client_id) is None:
            raise ApiError(13009, {"reason": "invalid_token"})
        self.revoke(grant)
        expires_ns = now_ns + self._settings.token_seconds * _SECOND_NS
        return self._register(grant.principal, expires_ns, grant.connection_bound)

    def token(self, access_token: str, now_ns: int) -> Principal:
        """The principal of an access token; 13009 invalid_token otherwise."""
        grant = self._access.get(_digest(access_token))
        if grant is None:
            raise unauthorized("invalid_token")
        if now_ns >= grant.expires_wall_ns or self._credentials.get(grant.principal.client_id) is None:
            self.revoke(grant)
            raise unauthorized("invalid_token")
        return grant.principal

    def revoke(self, grant: Grant) -> None:
        """End a token pair."""
        self._access.pop(_digest(grant.access_token), None)
        self._refresh.pop(_digest(grant.refresh_token), None)
        name = (grant.principal.client_id, grant.principal.session_name)
        if self._named.get(name) is grant:
            del self._named[name]

    def valid(self, principal: Principal) -> bool:
        """Whether the key behind a logged-in session still exists."""
        return self._credentials.get(principal.client_id) is not None

    def header(self, value: str, verb: str, target: str, body: str, now_ns: int) -> Principal:
        """The principal of an HTTP Authorization header (Bearer, Basic or deri-hmac-sha256)."""
        scheme, _, rest = value.strip().partition(" ")
        scheme, rest = scheme.lower(), rest.strip()
        if scheme == "bearer":
            return self.token(rest, now_ns)
        if scheme == "basic":
            try:
                client_id, _, secret = base64.b64decode(rest, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                raise ApiError(13004) from None
            return self._direct(self.client_credentials(client_id, secret))
        if scheme == "deri-hmac-sha256":
            fields = dict(part.strip().partition("=")[::2] for part in rest.split(","))
            try:
                client_id, stamp, nonce, given = fields["id"], fields["ts"], fields["nonce"], fields["sig"]
            except KeyError:
                raise ApiError(13004, {"reason": "incomplete_authorization_header"}) from None
            text = f"{stamp}\n{nonce}\n{verb}\n{target}\n{body}\n"
            return self._direct(self.signature(client_id, stamp, nonce, text, given, now_ns))
        raise unauthorized("unsupported_authorization_scheme")

    @staticmethod
    def _direct(credential: Credential) -> Principal:
        scopes = frozenset(credential.scopes)
        return Principal(credential.account_id, credential.key_id, credential.client_id, scopes)
