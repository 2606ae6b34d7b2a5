"""Around every request: the prefix of a proxy, a bound on what is sent, headers that bind a browser, HEAD."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY_BYTES = 64 * 1024
ENDLESS = "/stream"
"""What has no whole answer, whose head alone could be sent."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing inline runs, nothing comes from elsewhere, nobody frames us."""
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)


class Guard:
    """An ASGI application around another.

    Args:
        inner: the pages.
        base: prefix under which a proxy shows them; taken off where the proxy has not.
    """

    def __init__(self, inner: Application, base: str) -> None:
        self._inner = inner
        self._base = base

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        path: str = scope["path"]
        if self._base and (path == self._base or path.startswith(f"{self._base}/")):
            rest = path[len(self._base) :] or "/"
            scope = {**scope, "path": rest, "raw_path": rest.encode()}
        if scope["method"] == "HEAD" and scope["path"] != ENDLESS:
            scope, send = {**scope, "method": "GET"}, _without_body(send)
        headers = dict(scope["headers"])
        if int(_number(headers.get(b"content-length", b"0"))) > MAX_BODY_BYTES:
            await _refuse(_with_headers(send))
            return
        await self._inner(scope, _bounded(receive), _with_headers(send))


def _number(text: bytes) -> int:
    return int(text) if text.isdigit() and len(text) < 16 else 0


def _bounded(receive: Receive) -> Receive:
    """What comes without saying how long it is ends at the bound, as if its sender had gone."""
    num_bytes = 0

    async def receive_bounded() -> Message:
        nonlocal num_bytes
        message = await receive()
        num_bytes += len(message.get("body", b""))
        return {"type": "http.disconnect"} if num_bytes > MAX_BODY_BYTES else message

    return receive_bounded


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = [(name.lower(), value) for name, value in message.get("headers", ())]
            names = {name for name, _ in given}
            more = [pair for pair in HEADERS if pair[0] not in names]
            if b"cache-control" not in names:
                more.append((b"cache-control", b"no-store"))
            message = {**message, "headers": [*given, *more]}
        await send(message)

    return send_with_headers


def _without_body(send: Send) -> Send:
    """As whoever looks after a server asks: the answer to GET, but for what is in it."""

    async def send_head(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return send_head


async def _refuse(send: Send) -> None:
    text = f"a request must have at most {MAX_BODY_BYTES} bytes\n".encode()
    await send({"type": "http.response.start", "status": 413, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text})
