"""A webhook: one POST a notification, signed as Standard Webhooks 1.0 says, so that its libraries can check it.

| header | holds |
|---|---|
| ``webhook-id`` | the notification's id: who sees it twice was told twice |
| ``webhook-timestamp`` | seconds since 1970 of this attempt |
| ``webhook-signature`` | ``v1,`` and base64 of HMAC-SHA256 over ``id.timestamp.body`` |
| ``traceparent``, ``tracestate`` | the event's, if it has them: who traces goes on with them |
"""

import base64
import hashlib
import hmac
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

from consumers.notify.notification import Notification, NotTakenError, RefusedError
from consumers.notify.rules import WebhookTarget, signing_key
from schemas.traceparent import TRACEPARENT, TRACESTATE
from schemas.version import software_version

ABOUT_THE_MESSAGE = frozenset({400, 413, 415, 422})
"""Answers that mean this request; all others mean the address, and can be mended there."""
MAX_RETRY_AFTER_S = 600.0
MAX_ANSWER_BYTES = 2048


class Webhook:
    """See ``Target``.

    Args:
        settings: where, and how.
        now: seconds since 1970, for the signature.
    """

    shows_state = False

    def __init__(self, settings: WebhookTarget, now: Callable[[], float] = time.time) -> None:
        self._address: SplitResult = urlsplit(settings.url.get_secret_value())
        self._key = None if settings.secret is None else signing_key(settings.secret.get_secret_value())
        self._headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        self._format = settings.format
        self._timeout_s = settings.timeout.total_seconds()
        self._now = now
        self._open: http.client.HTTPConnection | None = None
        self._closed = False

    def tell(self, notification: Notification) -> None:
        """See ``Target``."""
        body, kind = self._content(notification)
        timestamp = str(int(self._now()))
        traced = {TRACEPARENT: notification.facts.traceparent, TRACESTATE: notification.facts.tracestate}
        headers = {
            **{name: line for name, line in traced.items() if line is not None},
            "content-type": kind,
            "user-agent": f"engram/{software_version()}",
            "webhook-id": notification.id,
            "webhook-timestamp": timestamp,
            **self._headers,
        }
        if self._key is not None:
            headers["webhook-signature"] = signature(self._key, notification.id, timestamp, body)
        self._judge(*self._posted(body, headers))

    def close(self) -> None:
        """See ``Target``."""
        self._closed = True
        _cut(self._open)

    def _content(self, notification: Notification) -> tuple[bytes, str]:
        if self._format == "text":
            return json.dumps({"text": notification.text}).encode(), "application/json"
        return notification.body, "application/cloudevents+json"

    def _posted(self, body: bytes, headers: dict[str, str]) -> tuple[int, str, str]:
        """Status, ``Retry-After``, and the beginning of the answer. The time-out is for all of it together."""
        connection = self._connection()
        self._open = connection
        # The client's own time-out is for each step, so an answer that drips would be waited for without end.
        is_late = threading.Event()

        def end() -> None:
            is_late.set()
            _cut(connection)

        watch = threading.Timer(self._timeout_s, end)
        watch.daemon = True
        watch.start()
        try:
            path = self._address.path or "/"
            target = f"{path}?{self._address.query}" if self._address.query else path
            connection.request("POST", target, body, headers)
            answer = connection.getresponse()
            if is_late.is_set():  # the client takes headers that were cut off for whole ones
                raise TimeoutError
            return answer.status, answer.getheader("retry-after") or "", _said(answer)
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: the watch cut in between
            why = "no answer in time" if isinstance(error, TimeoutError) or is_late.is_set() else _why(error)
            raise NotTakenError(f"{self._place} did not take it: {why}") from error
        finally:
            watch.cancel()
            self._open = None
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._address.hostname or "", self._address.port
        if self._closed:
            raise NotTakenError(f"{self._place} is not told any more: we are stopping")
        if self._address.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=context)
        return http.client.HTTPConnection(host, port, timeout=self._timeout_s)

    def _judge(self, status: int, retry_after: str, said: str) -> None:
        if 200 <= status < 300:
            return
        excerpt = "".join(sign if sign.isprintable() else " " for sign in said[:200]).strip()
        text = f"{self._place} answered {status} {excerpt}".rstrip()
        if status in ABOUT_THE_MESSAGE:
            raise RefusedError(text)
        wait_s = float(retry_after) if retry_after.isdigit() and len(retry_after) < 8 else 0.0
        raise NotTakenError(text, min(wait_s, MAX_RETRY_AFTER_S))

    @property
    def _place(self) -> str:
        """The address without its path, in which there is often a token."""
        return f"{self._address.scheme}://{self._address.hostname}"


def _said(answer: http.client.HTTPResponse) -> str:
    """The beginning of the answer's text; its status counts, whatever becomes of the rest."""
    try:
        return answer.read(MAX_ANSWER_BYTES).decode("utf-8", errors="replace")
    except (OSError, http.client.HTTPException, ValueError):
        return ""


def signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    """The value of ``webhook-signature``."""
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _cut(connection: http.client.HTTPConnection | None) -> None:
    """End whatever the connection waits for, from another thread."""
    sock = None if connection is None else connection.sock
    if sock is not None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _why(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()
