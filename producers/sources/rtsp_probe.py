"""Ask an RTSP server about one stream with OPTIONS and DESCRIBE (RFC 2326) and read its status code.

Only used after a stream failed to open, to tell a wrong password from a wrong path from a camera that is away.
"""

import socket
import time
from dataclasses import dataclass

from producers.sources.address import Address
from producers.sources.authorization import Request, answer_challenges

_MAX_REPLY_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Reply:
    code: int
    challenges: tuple[str, ...]


def probe_rtsp(address: Address, timeout_s: float) -> int:
    """Status code of OPTIONS if it is an error other than 401, else of DESCRIBE, with credentials when asked for.

    Raises:
        OSError: no connection, or it broke; TimeoutError among them.
        ValueError: what answers does not speak RTSP, or wants an unknown kind of login.
    """
    with socket.create_connection(address.host_and_port, timeout_s) as connection:
        talk = _Conversation(connection, address.without_credentials, time.monotonic() + timeout_s)
        options = talk.ask("OPTIONS", None)
        if options.code >= 400 and options.code != 401:
            return options.code
        described = talk.ask("DESCRIBE", None)
        if described.code != 401 or address.credentials is None or not described.challenges:
            return described.code
        request = Request("DESCRIBE", address.without_credentials)
        return talk.ask("DESCRIBE", answer_challenges(described.challenges, address.credentials, request)).code


class _Conversation:
    def __init__(self, connection: socket.socket, uri: str, deadline: float) -> None:
        self._connection = connection
        self._uri = uri
        self._deadline = deadline
        self._sequence = 0
        self._unread = b""

    def ask(self, method: str, authorization: str | None) -> _Reply:
        self._sequence += 1
        lines = [f"{method} {self._uri} RTSP/1.0", f"CSeq: {self._sequence}", "User-Agent: engram"]
        if method == "DESCRIBE":
            lines.append("Accept: application/sdp")
        if authorization is not None:
            lines.append(f"Authorization: {authorization}")
        self._connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return self._read_reply()

    def _read_reply(self) -> _Reply:
        while b"\r\n\r\n" not in self._unread:
            self._receive()
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        protocol, _, rest = status.partition(" ")
        if not protocol.startswith("RTSP/") or not rest[:3].isdigit():
            raise ValueError(f"an RTSP server must answer with 'RTSP/1.0 <code>', got {status[:40]!r}")
        headers = [
            (name.strip().lower(), value.strip()) for name, _, value in (field.partition(":") for field in fields)
        ]
        self._skip_body(next((int(value) for name, value in headers if name == "content-length"), 0))
        return _Reply(int(rest[:3]), tuple(value for name, value in headers if name == "www-authenticate"))

    def _skip_body(self, length: int) -> None:
        if length > _MAX_REPLY_BYTES:
            raise ValueError(f"a description must have at most {_MAX_REPLY_BYTES} bytes, got {length}")
        while len(self._unread) < length:
            self._receive()
        self._unread = self._unread[length:]

    def _receive(self) -> None:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("no complete reply in time")
        self._connection.settimeout(left_s)
        data = self._connection.recv(4096)
        if not data:
            raise ConnectionResetError("closed before a complete reply")
        self._unread += data
        if len(self._unread) > 2 * _MAX_REPLY_BYTES:
            raise ValueError("a reply must be short, got more than 128 KiB")
