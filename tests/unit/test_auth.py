"""Credentials at rest, grants, signatures, tokens and scopes."""

import base64
import hashlib
import hmac
import os
from pathlib import Path

import pytest

from gateway.auth import Authenticator, granted_scopes
from gateway.credentials import KEY_NAME, STORE_NAME, CredentialError, CredentialStore
from gateway.errors import ApiError
from gateway.settings import Settings

NOW_NS = 1_790_000_000_000_000_000
NOW_MS = NOW_NS // 1_000_000


@pytest.fixture
def store(tmp_path: Path) -> CredentialStore:
    return CredentialStore(tmp_path)


@pytest.fixture
def auth(store: CredentialStore) -> Authenticator:
    return Authenticator(store, Settings(max_tokens=10, max_nonces=5), sessions_per_key=2)


def sign(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def code_of(action) -> int:
    with pytest.raises(ApiError) as caught:
        action()
    return caught.value.code


def test_store_survives_and_hides_secrets(tmp_path: Path, store: CredentialStore) -> None:
    made = store.create(7, "bot", ("trade:read",))
    raw = (tmp_path / STORE_NAME).read_bytes()
    assert made.secret.encode() not in raw
    assert made.client_id.encode() not in raw
    for name in (STORE_NAME, KEY_NAME):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert made.secret not in repr(made)
    again = CredentialStore(tmp_path)
    assert again.get(made.client_id) == made
    second = again.create(7)
    assert second.key_id == made.key_id + 1
    assert again.revoke(made.client_id)
    assert not again.revoke(made.client_id)
    assert CredentialStore(tmp_path).of_account(7) == [second]


def test_store_refuses_what_it_cannot_trust(tmp_path: Path, store: CredentialStore) -> None:
    made = store.create(1)
    with pytest.raises(CredentialError, match="exists"):
        store.create(2, client_id=made.client_id)
    with pytest.raises(CredentialError, match="unknown scope"):
        store.create(1, scopes=("everything",))
    os.chmod(tmp_path / KEY_NAME, 0o644)
    with pytest.raises(CredentialError, match="readable by others"):
        CredentialStore(tmp_path)
    (tmp_path / KEY_NAME).unlink()
    with pytest.raises(CredentialError, match="does not"):
        CredentialStore(tmp_path)
    other = CredentialStore(tmp_path / "other")
    other.create(1)
    (tmp_path / KEY_NAME).write_bytes((tmp_path / "other" / KEY_NAME).read_bytes())
    os.chmod(tmp_path / KEY_NAME, 0o600)
    with pytest.raises(CredentialError, match="decrypted"):
        CredentialStore(tmp_path)


def test_client_credentials(store: CredentialStore, auth: Authenticator) -> None:
    made = store.create(3)
    assert auth.client_credentials(made.client_id, made.secret) == made
    assert code_of(lambda: auth.client_credentials(made.client_id, made.secret + "x")) == 13004
    assert code_of(lambda: auth.client_credentials("nobody", made.secret)) == 13004
    assert code_of(lambda: auth.client_credentials(made.client_id, "\ud800")) == 13004


def test_client_signature_window_and_reuse(store: CredentialStore, auth: Authenticator) -> None:
    made = store.create(3)
    text = f"{NOW_MS}\nabc\n"
    good = sign(made.secret, text)
    assert auth.signature(made.client_id, str(NOW_MS), "abc", text, good, NOW_NS) == made
    assert code_of(lambda: auth.signature(made.client_id, str(NOW_MS), "abc", text, good, NOW_NS)) == 13004
    assert code_of(lambda: auth.signature(made.client_id, str(NOW_MS), "abc", text, "0" * 64, NOW_NS)) == 13004
    for skew_ms in (-61_000, 61_000):
        stamp = str(NOW_MS + skew_ms)
        late = f"{stamp}\nabc\n"
        signature = sign(made.secret, late)
        assert (
            code_of(lambda s=stamp, t=late, g=signature: auth.signature(made.client_id, s, "abc", t, g, NOW_NS))
            == 13004
        )
    bad = "soon\nabc\n"
    assert code_of(lambda: auth.signature(made.client_id, "soon", "abc", bad, sign(made.secret, bad), NOW_NS)) == -32602


def test_nonce_memory_is_bounded_and_forgets(store: CredentialStore, auth: Authenticator) -> None:
    made = store.create(3)

    def use(nonce: int, now_ns: int) -> None:
        stamp = str(now_ns // 1_000_000)
        text = f"{stamp}\n{nonce}\n"
        auth.signature(made.client_id, stamp, str(nonce), text, sign(made.secret, text), now_ns)

    for nonce in range(5):
        use(nonce, NOW_NS)
    assert code_of(lambda: use(5, NOW_NS)) == 10028
    use(6, NOW_NS + 121_000_000_000)


def test_tokens_expire_refresh_and_are_bounded(store: CredentialStore, auth: Authenticator) -> None:
    made = store.create(3)
    grant = auth.issue(made, "expires:10", NOW_NS, websocket=False)
    assert auth.token(grant.access_token, NOW_NS).account_id == 3
    assert code_of(lambda: auth.token(grant.refresh_token, NOW_NS)) == 13009
    assert code_of(lambda: auth.token(grant.access_token, NOW_NS + 10_000_000_000)) == 13009
    grant = auth.issue(made, "", NOW_NS, websocket=False)
    renewed = auth.refresh(grant.refresh_token, NOW_NS)
    assert code_of(lambda: auth.token(grant.access_token, NOW_NS)) == 13009
    assert code_of(lambda: auth.refresh(grant.refresh_token, NOW_NS)) == 13009
    assert auth.token(renewed.access_token, NOW_NS).key_id == made.key_id
    for _ in range(10):
        auth.issue(made, "", NOW_NS, websocket=False)
    assert code_of(lambda: auth.token(renewed.access_token, NOW_NS)) == 13009


def test_named_sessions_replace_and_are_limited(store: CredentialStore, auth: Authenticator) -> None:
    made = store.create(3)
    first = auth.issue(made, "session:a", NOW_NS, websocket=True)
    second = auth.issue(made, "session:a", NOW_NS, websocket=True)
    assert code_of(lambda: auth.token(first.access_token, NOW_NS)) == 13009
    assert not second.connection_bound
    auth.issue(made, "session:b", NOW_NS, websocket=True)
    assert code_of(lambda: auth.issue(made, "session:c", NOW_NS, websocket=True)) == 10066
    auth.revoke(second)
    auth.issue(made, "session:c", NOW_NS, websocket=True)


def test_revoked_key_ends_its_tokens(store: CredentialStore, auth: Authenticator) -> None:
    made = store.create(3)
    grant = auth.issue(made, "", NOW_NS, websocket=False)
    store.revoke(made.client_id)
    assert code_of(lambda: auth.token(grant.access_token, NOW_NS)) == 13009
    assert not auth.valid(grant.principal)


@pytest.mark.parametrize(
    ("own", "requested", "expected"),
    [
        (("trade:read_write", "account:read"), "", {"trade:read_write", "account:read"}),
        (("trade:read_write", "account:read"), "connection", {"trade:read_write", "account:read"}),
        (("trade:read_write", "account:read"), "trade:read", {"trade:read"}),
        (("trade:read", "account:read"), "trade:read_write", {"trade:read"}),
        (("trade:read",), "account:read_write session:x", set()),
        (("trade:read",), "trade:all", set()),
    ],
)
def test_scopes_never_exceed_the_key(
    store: CredentialStore, own: tuple[str, ...], requested: str, expected: set[str]
) -> None:
    assert granted_scopes(store.create(1, scopes=own), requested) == expected


def test_read_write_includes_read(store: CredentialStore, auth: Authenticator) -> None:
    principal = auth.issue(store.create(1, scopes=("trade:read_write",)), "", NOW_NS, False).principal
    assert principal.allows("trade:read")
    assert principal.allows("trade:read_write")
    assert not principal.allows("account:read")
    reader = auth.issue(store.create(1, scopes=("trade:read",)), "", NOW_NS, False).principal
    assert not reader.allows("trade:read_write")


def test_authorization_headers(store: CredentialStore, auth: Authenticator) -> None:
    made = store.create(4)
    grant = auth.issue(made, "", NOW_NS, websocket=False)
    for scheme in ("Bearer", "bearer"):
        assert auth.header(f"{scheme} {grant.access_token}", "GET", "/", "", NOW_NS).account_id == 4
    basic = base64.b64encode(f"{made.client_id}:{made.secret}".encode()).decode()
    assert auth.header(f"Basic {basic}", "GET", "/", "", NOW_NS).key_id == made.key_id
    target, body = "/api/v2/private/buy?amount=1", '{"a":1}'
    sig = sign(made.secret, f"{NOW_MS}\nn1\nPOST\n{target}\n{body}\n")
    value = f"deri-hmac-sha256 sig={sig},nonce=n1, id={made.client_id},ts={NOW_MS}"
    assert code_of(lambda: auth.header(value, "POST", target + "0", body, NOW_NS)) == 13004
    assert auth.header(value, "POST", target, body, NOW_NS).account_id == 4
    assert code_of(lambda: auth.header(value, "POST", target, body, NOW_NS)) == 13004


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("Bearer nonsense", 13009),
        ("Digest x", 13009),
        ("Basic !!!", 13004),
        ("deri-hmac-sha256 id=a,ts=1", 13004),
        ("deri-hmac-sha256 ", 13004),
    ],
)
def test_bad_authorization_headers(auth: Authenticator, value: str, code: int) -> None:
    assert code_of(lambda: auth.header(value, "GET", "/", "", NOW_NS)) == code
