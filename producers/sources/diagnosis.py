"""Why a camera does not open: its readers say only that it did not, so it is asked once more, in its words."""

import http.client
import socket
from collections.abc import Callable, Mapping

from producers.sources.address import Address
from producers.sources.authorization import Request, answer_challenges
from producers.sources.rtsp_probe import probe_rtsp

_MEANINGS = {
    401: "401 Unauthorized: user name or password refused; check the credentials",
    403: "403 Forbidden: this user may not see this stream",
    404: "404 Not Found: the camera answers, but has no such stream; check the path",
    453: "453 Not Enough Bandwidth: the camera serves no more viewers",
    461: "461 Unsupported Transport: the camera offers no RTSP over TCP",
    503: "503 Service Unavailable: the camera is busy; too many viewers?",
}
_NO_CREDENTIALS = "401 Unauthorized: the camera wants a user name and password, the address has none"


def explain_failure(address: Address, timeout_s: float) -> str:
    """The most likely reason in one line, without credentials."""
    probes: dict[str, Callable[[Address, float], int | None]] = {"rtsp": _rtsp_status, "http": _http_status}
    probe = probes.get(address.kind)
    if probe is None:
        return f"{address.shown} does not open; is it a camera, free, and readable by this user?"
    host, port = address.host_and_port
    try:
        code = probe(address, timeout_s)
    except ConnectionRefusedError:
        return f"{host}:{port} refused the connection; is the camera on, and the port right?"
    except socket.gaierror:
        return f"host name '{host}' is unknown; check the name"
    except TimeoutError:
        return f"{host}:{port} did not answer within {timeout_s:g} s"
    except (OSError, http.client.HTTPException, ValueError) as error:
        # The class name only: the text of such an error may quote what was sent.
        return f"{host}:{port} broke off the conversation ({type(error).__name__})"
    return _explain_code(address, code)


def _explain_code(address: Address, code: int | None) -> str:
    host, port = address.host_and_port
    if code is None:
        return f"{host}:{port} accepts connections, but does not open as a stream"
    if code == 401 and address.credentials is None:
        return _NO_CREDENTIALS
    if code < 300:
        return f"{host}:{port} answers ({code}), but sends no video that can be decoded"
    return _MEANINGS.get(code, f"{host}:{port} answered with code {code}")


def _rtsp_status(address: Address, timeout_s: float) -> int | None:
    if address.location.lower().startswith("rtsps"):
        with socket.create_connection(address.host_and_port, timeout_s):
            return None
    return probe_rtsp(address, timeout_s)


def _http_status(address: Address, timeout_s: float) -> int:
    """Asked without credentials first: they are sent only to a camera that asks for them, in the way it asks for."""
    code, challenges = _get(address, timeout_s, {})
    if code != 401 or address.credentials is None or not challenges:
        return code
    request = Request("GET", address.request_target)
    return _get(address, timeout_s, {"Authorization": answer_challenges(challenges, address.credentials, request)})[0]


def _get(address: Address, timeout_s: float, headers: Mapping[str, str]) -> tuple[int, list[str]]:
    """Status code and login challenges."""
    host, port = address.host_and_port
    secure = address.location.lower().startswith("https")
    connection = (http.client.HTTPSConnection if secure else http.client.HTTPConnection)(host, port, timeout=timeout_s)
    try:
        connection.request("GET", address.request_target, headers=dict(headers))
        response = connection.getresponse()
        return response.status, response.headers.get_all("WWW-Authenticate") or []
    finally:
        connection.close()
