"""JSON-RPC on the wire: the four request forms become one `Request`, results and errors become bytes.

Forms: `GET /api/v2/{method}?query`, `POST /api/v2` (also `/`), `POST /api/v2/{method}`, and WebSocket text
messages. The id is echoed byte for byte, whatever JSON scalar it was.
"""

import re
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from gateway.errors import INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR, ApiError, invalid_param

API_PREFIX = "/api/v2"
MAX_ID_BYTES = 256
_EMPTY = msgspec.Raw(b"{}")
_PATH = re.compile(r" - at `\$\.?(.*)`$")
_MISSING = re.compile(r"missing required field `(.*?)`")


class Envelope(msgspec.Struct, gc=False):
    """The members of a request object; unknown members are ignored."""

    method: str
    id: msgspec.Raw = msgspec.Raw(b"")
    params: msgspec.Raw = _EMPTY


class _IdOnly(msgspec.Struct):
    id: msgspec.Raw = msgspec.Raw(b"")


class Params(msgspec.Struct, kw_only=True):
    """Base of every method's parameters; unknown parameters are ignored."""

    access_token: str | None = None


class Request:
    """One call: `params` is JSON (`raw`) or, from a query string, a mapping of strings (`query`)."""

    __slots__ = ("id", "method", "query", "raw")

    def __init__(
        self,
        method: str,
        raw: msgspec.Raw | bytes = b"{}",
        request_id: bytes = b"",
        query: dict[str, Any] | None = None,
    ):
        self.method = method
        self.raw = raw
        self.id = request_id
        self.query = query

    def params(self, decoder: "ParamDecoder") -> Any:
        """The typed parameters; -32602 naming the one at fault."""
        return decoder.from_query(self.query) if self.query is not None else decoder.from_json(self.raw)


class ParamDecoder:
    """Decodes one method's parameters, coercing strings ("0.1", "true"): queries and some clients do."""

    __slots__ = ("_decode", "_type")

    def __init__(self, kind: type[Params]):
        self._type = kind
        self._decode = msgspec.json.Decoder(kind, strict=False).decode

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that the method knows."""
        return self._type.__struct_fields__

    def from_json(self, raw: msgspec.Raw | bytes) -> Any:
        try:
            return self._decode(raw)
        except msgspec.ValidationError as error:
            raise bad_params(error) from None
        except (msgspec.DecodeError, RecursionError):
            raise ApiError(PARSE_ERROR) from None

    def from_query(self, query: dict[str, Any]) -> Any:
        try:
            return msgspec.convert(query, self._type, strict=False)
        except msgspec.ValidationError as error:
            raise bad_params(error) from None


def bad_params(error: msgspec.ValidationError) -> ApiError:
    """-32602 with `param` and `reason` from the decoder's message."""
    text = str(error)
    missing = _MISSING.search(text)
    if missing:
        return invalid_param(missing[1], "value required")
    path = _PATH.search(text)
    if path and path[1]:
        return invalid_param(path[1], "wrong format")
    return ApiError(INVALID_PARAMS, {"reason": "wrong format", "param": "params"})


def _check_id(raw: msgspec.Raw) -> bytes:
    """The id's bytes (empty: absent); -32600 for anything but a string, a number or null."""
    text = bytes(raw)
    if not text or text == b"null":
        return b""
    if text[0] in b"{[tf" or len(text) > MAX_ID_BYTES:
        raise ApiError(INVALID_REQUEST, {"reason": "id must be a number or a short string"})
    return text


_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_id = msgspec.json.Decoder(_IdOnly).decode


def parse(text: bytes | str, path_method: str = "") -> Request:
    """The request in a JSON text; a method in the URL stands in for a missing one.

    Raises ApiError with attribute `request_id` where the id could still be read.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode()
        envelope = _decode_envelope(text)
    except msgspec.ValidationError as error:
        if path_method and "`method`" in str(error) and "missing" in str(error):
            return _parse_without_method(text, path_method)
        raise _with_id(ApiError(INVALID_REQUEST), text) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ApiError(PARSE_ERROR) from None
    return Request(envelope.method.lstrip("/"), _params(envelope.params), _check_id(envelope.id))


def _params(raw: msgspec.Raw) -> msgspec.Raw | bytes:
    return b"{}" if bytes(raw) == b"null" else raw


class _Rest(msgspec.Struct):
    id: msgspec.Raw = msgspec.Raw(b"")
    params: msgspec.Raw = _EMPTY


def _parse_without_method(text: str, path_method: str) -> Request:
    rest = msgspec.json.decode(text, type=_Rest)
    return Request(path_method, _params(rest.params), _check_id(rest.id))


def _with_id(error: ApiError, text: str) -> ApiError:
    with suppress(msgspec.DecodeError, RecursionError, ApiError):
        error.request_id = _check_id(_decode_id(text).id)  # type: ignore[attr-defined]
    return error


def from_http(verb: str, target: str, body: bytes) -> Request:
    """The request of an HTTP message. LookupError: no such address (404); ApiError: bad request (400)."""
    path, _, query = target.partition("?")
    path = path.rstrip("/")
    if path in ("", API_PREFIX):
        method = ""
    elif path.startswith(API_PREFIX + "/"):
        method = unquote(path[len(API_PREFIX) + 1 :])
    else:
        raise LookupError(path)
    if verb == "POST":
        return parse(body, method)
    if not method:
        raise LookupError(path)
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=200, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise ApiError(INVALID_PARAMS, {"reason": "wrong format", "param": "query"}) from None
    return Request(method, query={name.removesuffix("[]"): value for name, value in _structured(pairs)})


def _structured(pairs: list[tuple[str, str]]) -> list[tuple[str, Any]]:
    """Values that are JSON arrays or objects decoded; a repeated `name[]` gathered into a list."""
    lists: dict[str, list[str]] = {}
    found: list[tuple[str, Any]] = []
    for name, value in pairs:
        if name.endswith("[]"):
            lists.setdefault(name, []).append(value)
        elif value[:1] in ("[", "{"):
            try:
                found.append((name, msgspec.json.decode(value)))
            except (msgspec.DecodeError, RecursionError):
                raise invalid_param(name, "wrong format") from None
        else:
            found.append((name, value))
    return found + list(lists.items())


encode = msgspec.json.Encoder().encode


def _close(us_in: int, us_out: int, testnet: bool) -> bytes:
    flag = b"true" if testnet else b"false"
    return b',"usIn":%d,"usOut":%d,"usDiff":%d,"testnet":%b}' % (us_in, us_out, max(0, us_out - us_in), flag)


def _open(request_id: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","id":' + request_id + b"," if request_id else b'{"jsonrpc":"2.0",'


def result_bytes(request_id: bytes, result: Any, us_in: int, us_out: int, testnet: bool = True) -> bytes:
    """A successful answer."""
    return _open(request_id) + b'"result":' + encode(result) + _close(us_in, us_out, testnet)


def error_bytes(request_id: bytes, error: ApiError, us_in: int, us_out: int, testnet: bool = True) -> bytes:
    """A refusal."""
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data:
        body["data"] = error.data
    return _open(request_id) + b'"error":' + encode(body) + _close(us_in, us_out, testnet)


def notification_bytes(channel_json: bytes, data_json: bytes) -> bytes:
    """A subscription message; both arguments are JSON, so that one encoding serves every subscriber."""
    head = b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":'
    return head + channel_json + b',"data":' + data_json + b"}}"


def heartbeat_bytes(kind: str) -> bytes:
    """A heartbeat message: `heartbeat` or `test_request`."""
    return encode({"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": kind}})
