"""Login, subscriptions, heartbeat, and what a client asks about the connection itself."""

from typing import Any

from gateway import render_marks
from gateway.auth import Grant
from gateway.errors import ApiError, invalid_param
from gateway.protocol import Params
from gateway.registry import NO_REPLY, method
from gateway.units import ms


class Auth(Params, kw_only=True):
    grant_type: str
    client_id: str | None = None
    client_secret: str | None = None
    timestamp: int | str | None = None
    signature: str | None = None
    nonce: str | None = None
    data: str | None = None
    refresh_token: str | None = None
    scope: str | None = None
    state: str | None = None


def _required(params: Auth, *names: str) -> list[Any]:
    for name in names:
        if getattr(params, name) is None:
            raise invalid_param(name, "value required")
    return [getattr(params, name) for name in names]


def token_result(grant: Grant, now_ns: int) -> dict[str, Any]:
    """The answer to a successful login."""
    return {
        "access_token": grant.access_token,
        "refresh_token": grant.refresh_token,
        "expires_in": max(1, (grant.expires_wall_ns - now_ns) // 1_000_000_000),
        "scope": grant.principal.scope_text,
        "token_type": "bearer",
        "enabled_features": [],
    }


@method("public/auth", params=Auth)
def auth(gateway, session, principal, params: Auth) -> dict[str, Any]:
    """Log in by secret, signature or refresh token; a WebSocket stays logged in."""
    now_ns, authenticator = gateway.wall_ns(), gateway.auth
    if params.grant_type == "refresh_token":
        (token,) = _required(params, "refresh_token")
        grant = authenticator.refresh(token, now_ns)
    else:
        if params.grant_type == "client_credentials":
            credential = authenticator.client_credentials(*_required(params, "client_id", "client_secret"))
        elif params.grant_type == "client_signature":
            client_id, stamp, signature = _required(params, "client_id", "timestamp", "signature")
            nonce = params.nonce or ""
            text = f"{stamp}\n{nonce}\n{params.data or ''}"
            credential = authenticator.signature(client_id, str(stamp), nonce, text, signature, now_ns)
        else:
            raise invalid_param("grant_type", "invalid value")
        grant = authenticator.issue(credential, params.scope or "", now_ns, session.websocket)
    session.login(grant)
    result = token_result(grant, now_ns)
    if params.state is not None:
        result["state"] = params.state
    return result


@method("private/logout", scope="any", websocket_only=True)
def logout(gateway, session, principal, params) -> object:
    """Close the connection without an answer and without cancel-on-disconnect."""
    session.cancel_on_disconnect = None
    session.close(1000, "logout")
    return NO_REPLY


class TestParams(Params, kw_only=True):
    expected_result: str | None = None


@method("public/get_time")
def get_time(gateway, session, principal, params) -> int:
    """Venue time in milliseconds."""
    return ms(gateway.engine.time_ns)


@method("public/test", params=TestParams)
def test(gateway, session, principal, params: TestParams) -> dict[str, str]:
    """Version; answers the server's test_request."""
    if params.expected_result == "exception":
        raise ApiError(11094)
    session.tested()
    return {"version": gateway.settings.version}


class Hello(Params, kw_only=True):
    client_name: str | None = None
    client_version: str | None = None


@method("public/hello", params=Hello, websocket_only=True)
def hello(gateway, session, principal, params) -> dict[str, str]:
    """Version."""
    return {"version": gateway.settings.version}


@method("public/status")
def status(gateway, session, principal, params) -> dict[str, Any]:
    """Which indices are locked (no marks, or a stage that is not live); the state of all marks, and overrides."""
    marks = render_marks.states(gateway.engine, gateway.listings.index_names)
    locked = [one["index_name"] for one in marks if one["stage"] != "live" or not one["marked_timestamp"]]
    word = "false" if not locked else "true" if len(locked) == len(marks) else "partial"
    return {
        "locked": word,
        "locked_indices": locked,
        "marks": marks,
        "overrides": render_marks.overrides(gateway.engine),
    }


class Channels(Params, kw_only=True):
    channels: list[str]


@method("public/subscribe", "private/subscribe", params=Channels, kind="subscribe", websocket_only=True)
def subscribe(gateway, session, principal, params: Channels) -> list[str]:
    """Add channels; the answer lists those accepted and leaves before their first message."""
    return gateway.channels.subscribe(session, principal, params.channels)


@method("public/unsubscribe", "private/unsubscribe", params=Channels, kind="subscribe", websocket_only=True)
def unsubscribe(gateway, session, principal, params: Channels) -> list[str]:
    """Remove channels; the answer lists those removed."""
    return gateway.channels.unsubscribe(session, params.channels)


@method("public/unsubscribe_all", "private/unsubscribe_all", kind="subscribe", websocket_only=True)
def unsubscribe_all(gateway, session, principal, params) -> str:
    """Remove all channels."""
    gateway.channels.drop(session)
    return "ok"


class Heartbeat(Params, kw_only=True):
    interval: float


@method("public/set_heartbeat", params=Heartbeat, websocket_only=True)
def set_heartbeat(gateway, session, principal, params: Heartbeat) -> str:
    """Expect a sign of life every `interval` seconds (10 at least)."""
    if not 10 <= params.interval <= 3600:
        raise invalid_param("interval", "must be between 10 and 3600")
    session.set_heartbeat(int(params.interval))
    return "ok"


@method("public/disable_heartbeat", websocket_only=True)
def disable_heartbeat(gateway, session, principal, params) -> str:
    """End the heartbeat."""
    session.set_heartbeat(0)
    return "ok"


class Scope(Params, kw_only=True):
    scope: str | None = None


def _account_wide(params: Scope) -> bool:
    if params.scope not in (None, "connection", "account"):
        raise invalid_param("scope", "invalid value")
    return params.scope == "account"


def _switch(gateway, session, principal, params: Scope, on: bool) -> str:
    if _account_wide(params):
        change = gateway.cancel_on_disconnect_accounts.add if on else gateway.cancel_on_disconnect_accounts.discard
        change(principal.account_id)
    session.cancel_on_disconnect = principal if on else None
    return "ok"


@method("private/enable_cancel_on_disconnect", params=Scope, scope="trade:read_write", websocket_only=True)
def enable_cancel_on_disconnect(gateway, session, principal, params: Scope) -> str:
    """Cancel this connection's orders when it ends; scope `account`: new ones' too."""
    return _switch(gateway, session, principal, params, True)


@method("private/disable_cancel_on_disconnect", params=Scope, scope="trade:read_write", websocket_only=True)
def disable_cancel_on_disconnect(gateway, session, principal, params: Scope) -> str:
    """Leave orders alone when the connection ends."""
    return _switch(gateway, session, principal, params, False)


@method("private/get_cancel_on_disconnect", params=Scope, scope="trade:read", websocket_only=True)
def get_cancel_on_disconnect(gateway, session, principal, params: Scope) -> dict[str, Any]:
    """The setting of this connection, or of the account."""
    if _account_wide(params):
        enabled = principal.account_id in gateway.cancel_on_disconnect_accounts
        return {"scope": "account", "enabled": enabled}
    return {"scope": "connection", "enabled": session.cancel_on_disconnect is not None}
