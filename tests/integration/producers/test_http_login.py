"""How a camera over HTTP is asked: no password before it is asked for, and never in clear where it need not be."""

import base64

import pytest

from producers.sources.address import Credentials, parse_address
from producers.sources.authorization import Request, answer_challenges
from producers.sources.diagnosis import explain_failure
from tests.integration.producers.camera_servers import MjpegServer, is_digest_of, mjpeg_camera

BASIC = 'Basic realm="camera"'
MD5 = 'Digest realm="camera", nonce="abc", qop="auth,auth-int", opaque="xyz"'
OLD = 'Digest realm="camera", nonce="abc"'
SHA256 = 'Digest realm="camera", nonce="abc", algorithm=SHA-256, qop="auth"'
DIGESTS = [(MD5,), (OLD,), (SHA256,), (BASIC, MD5), (MD5, SHA256), (f"{BASIC}, {MD5}",), (f"{MD5}, {BASIC}",)]


def explain(camera: MjpegServer, user_info: str) -> str:
    return explain_failure(parse_address(f"http://{user_info}127.0.0.1:{camera.server_port}/video?x=1"), 5.0)


def basics(camera: MjpegServer) -> list[str]:
    return [given for given in camera.authorizations if given and given.startswith("Basic")]


@pytest.mark.parametrize("challenges", DIGESTS)
@pytest.mark.parametrize("password", ["pass word", "a@b:c/d%"])
def test_a_wrong_path_is_not_blamed_on_the_password(challenges: tuple[str, ...], password: str) -> None:
    quoted = password.replace("%", "%25").replace("/", "%2F").replace("@", "%40").replace(" ", "%20")
    with mjpeg_camera() as camera:
        camera.user, camera.challenges, camera.path = f"bob:{password}", challenges, "/elsewhere"
        assert "404 Not Found" in explain(camera, f"bob:{quoted}@")
        assert camera.authorizations[0] is None, "nothing is said before it is asked for"
        assert basics(camera) == []


@pytest.mark.parametrize("challenges", [*DIGESTS, (BASIC,)])
def test_a_wrong_password_is_named(challenges: tuple[str, ...]) -> None:
    with mjpeg_camera() as camera:
        camera.user, camera.challenges = "bob:right", challenges
        assert "user name or password refused" in explain(camera, "bob:wrong@")
        assert camera.authorizations[0] is None
        assert len(basics(camera)) == (1 if challenges == (BASIC,) else 0)


def test_a_camera_that_asks_for_nothing_is_told_nothing() -> None:
    with mjpeg_camera() as camera:
        camera.path = "/elsewhere"
        assert "404 Not Found" in explain(camera, "bob:secret@")
        assert camera.authorizations == [None]


def test_basic_where_nothing_else_is_offered() -> None:
    with mjpeg_camera() as camera:
        camera.user, camera.path = "bob:secret", "/elsewhere"
        assert "404 Not Found" in explain(camera, "bob:secret@")
        assert basics(camera) == ["Basic " + base64.b64encode(b"bob:secret").decode()]


@pytest.mark.parametrize("challenge", ["Negotiate", 'Digest realm="camera", nonce="a", algorithm=SHA-512-256', ""])
def test_a_login_that_is_not_known_sends_no_password(challenge: str) -> None:
    with mjpeg_camera() as camera:
        camera.user, camera.challenges = (
            "bob:secret",
            (challenge, BASIC) if challenge.startswith("Digest") else (challenge,),
        )
        explain(camera, "bob:secret@")
        assert basics(camera) == []


def test_the_example_of_the_standard() -> None:
    """RFC 7616 3.9.1 with its own nonce and our own cnonce."""
    nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
    challenge = f'Digest realm="camera", qop="auth, auth-int", algorithm=SHA-256, nonce="{nonce}"'
    answer = answer_challenges([challenge], Credentials("Mufasa", "Circle of Life"), Request("GET", "/dir/index.html"))
    assert is_digest_of(answer, "Mufasa:Circle of Life", "GET")
    assert "nc=00000001" in answer
    assert "algorithm=SHA-256" in answer
