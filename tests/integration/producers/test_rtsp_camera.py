"""What a person is told when an RTSP camera does not open."""

import logging
import queue
import socket
import threading

import pytest

from producers.sources import LiveOptions, SourceOptions, SourceStatus, open_source
from producers.sources.address import parse_address
from producers.sources.diagnosis import explain_failure
from tests.integration.producers.camera_servers import RtspServer, rtsp_camera

QOP = ', qop="auth,auth-int"'


def explain(server: RtspServer, user_info: str) -> str:
    return explain_failure(parse_address(f"rtsp://{user_info}127.0.0.1:{server.port}/live"), 5.0)


@pytest.mark.parametrize(("scheme", "qop"), [("Basic", ""), ("Digest", ""), ("Digest", QOP)])
def test_wrong_password(scheme: str, qop: str) -> None:
    with rtsp_camera(scheme, 200, qop) as server:
        assert explain(server, "bob:wrong@") == "401 Unauthorized: user name or password refused; check the credentials"
        assert "wrong" not in "".join(server.requests)


@pytest.mark.parametrize(("scheme", "qop"), [("Basic", ""), ("Digest", ""), ("Digest", QOP)])
def test_right_password_but_no_such_stream(scheme: str, qop: str) -> None:
    with rtsp_camera(scheme, 404, qop) as server:
        assert "404 Not Found" in explain(server, "bob:pass%20word@")
        assert len(server.requests) == 3


def test_no_password_given() -> None:
    with rtsp_camera("Digest") as server:
        assert "the address has none" in explain(server, "")


@pytest.mark.parametrize(("code", "text"), [(404, "no such stream"), (453, "no more viewers"), (500, "code 500")])
def test_other_refusals(code: int, text: str) -> None:
    with rtsp_camera(None, code) as server:
        assert text in explain(server, "")


def test_a_stream_that_is_described_but_does_not_play() -> None:
    with rtsp_camera(None, 200) as server:
        assert "sends no video" in explain(server, "")


@pytest.mark.parametrize("reply", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\x01\x02\r\n\r\n", b""])
def test_something_else_answers(reply: bytes) -> None:
    with rtsp_camera() as server:
        server.raw_reply = reply
        assert "broke off the conversation" in explain(server, "bob:secret@")


def test_an_endless_reply_is_cut_short() -> None:
    with rtsp_camera() as server:
        server.raw_reply = b"RTSP/1.0 200 OK\r\n" + b"X-Filler: 1\r\n" * 20_000
        assert "(ValueError)" in explain(server, "")


def test_nobody_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = parse_address(f"rtsp://bob:secret@127.0.0.1:{unused.getsockname()[1]}/live")
        assert "refused the connection" in explain_failure(address, 5.0)


def test_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = parse_address(f"rtsp://bob:secret@127.0.0.1:{mute.getsockname()[1]}/live")
        assert "did not answer within 0.3 s" in explain_failure(address, 0.3)


def test_unknown_host() -> None:
    assert "'nowhere.invalid' is unknown" in explain_failure(parse_address("rtsp://bob:secret@nowhere.invalid/"), 5.0)


def test_a_wrong_password_is_told_and_tried_again_without_showing_it(caplog, capfd) -> None:
    statuses: queue.Queue[SourceStatus] = queue.Queue()
    live = LiveOptions(open_timeout_s=5, backoff_first_s=0.05, backoff_max_s=0.1, backoff_jitter_s=0)
    options = SourceOptions(live=live, on_status=statuses.put, fps=10)
    with rtsp_camera("Digest") as server, caplog.at_level(logging.DEBUG):
        source = open_source(f"rtsp://bob:s3cr3t@127.0.0.1:{server.port}/live", options)
        reader = threading.Thread(target=lambda: list(source))
        reader.start()
        status = statuses.get(timeout=60)
        wait_for_requests(server, 12)
        source.close()
        reader.join(60)
        assert not reader.is_alive()
    assert status.state == "offline"
    assert "401 Unauthorized: user name or password refused" in status.reason
    assert source.status == status
    assert caplog.text.count("401") == 1
    output = capfd.readouterr()
    assert "s3cr3t" not in caplog.text + output.out + output.err + source.describe() + status.reason
    assert "rtsp://***@127.0.0.1" in caplog.text


def wait_for_requests(server: RtspServer, num: int) -> None:
    waiting = threading.Event()
    for _ in range(2000):
        if len(server.requests) >= num or waiting.wait(0.01):
            return
    raise AssertionError(f"{len(server.requests)} requests came, {num} were to come")
