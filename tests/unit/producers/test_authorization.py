"""Logins by plain values: the numbers of the standards, and what is chosen where a camera offers several."""

import base64
import hashlib
import re

import pytest

from producers.sources.address import Credentials, parse_address
from producers.sources.authorization import Request, answer_challenges, basic_authorization

MUFASA = Credentials("Mufasa", "Circle Of Life")
INDEX = Request("GET", "/dir/index.html")
NONCE = "dcd98b7102dd2f0e8b11d0f600bfb0c093"
BASIC = 'Basic realm="camera"'
OLD = f'Digest realm="testrealm@host.com", nonce="{NONCE}", opaque="5ccc069c403ebaf9f0171e9517f40e41"'
MD5 = f'{OLD}, qop="auth,auth-int"'
SHA256 = f'Digest realm="testrealm@host.com", nonce="{NONCE}", algorithm=SHA-256, qop="auth"'


def fields_of(answer: str) -> dict[str, str]:
    scheme, _, rest = answer.partition(" ")
    assert scheme == "Digest"
    return {name: quoted or bare for name, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^, ]+))', rest)}


def answered(*challenges: str, request: Request = INDEX) -> dict[str, str]:
    return fields_of(answer_challenges(challenges, MUFASA, request))


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def test_basic_is_the_pair_in_base64() -> None:
    """RFC 7617, section 2."""
    assert basic_authorization(Credentials("Aladdin", "open sesame")) == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    other = basic_authorization(Credentials("test", "123\u00a3"))  # section 2.1: UTF-8
    assert other == "Basic dGVzdDoxMjPCow=="


def test_the_oldest_digest_has_the_standards_number() -> None:
    """RFC 2069's scheme on the example of RFC 2617: KD(H(A1), nonce : H(A2)), both of which the standard gives."""
    fields = answered(OLD)
    a1, a2 = "939e7578ed9e3c518a452acee763bce9", "39aff3a2bab6126f332b942af96d3366"
    assert md5("Mufasa:testrealm@host.com:Circle Of Life") == a1
    assert md5("GET:/dir/index.html") == a2
    assert fields["response"] == md5(f"{a1}:{NONCE}:{a2}")
    assert fields["opaque"] == "5ccc069c403ebaf9f0171e9517f40e41"
    assert fields.keys() == {"username", "realm", "nonce", "uri", "opaque", "response"}


def test_a_digest_with_protection_counts_and_has_a_nonce_of_its_own() -> None:
    first, second = answered(MD5), answered(MD5)
    assert first["cnonce"] != second["cnonce"]
    assert first["response"] != second["response"]
    for fields in (first, second):
        assert (fields["qop"], fields["nc"], fields["uri"]) == ("auth", "00000001", "/dir/index.html")
        middle = f"{NONCE}:00000001:{fields['cnonce']}:auth"
        expected = md5(f"939e7578ed9e3c518a452acee763bce9:{middle}:39aff3a2bab6126f332b942af96d3366")
        assert fields["response"] == expected


def test_sha_256_is_used_for_all_three_hashes() -> None:
    fields = answered(SHA256)

    def hashed(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    who, what = hashed("Mufasa:testrealm@host.com:Circle Of Life"), hashed("GET:/dir/index.html")
    assert fields["response"] == hashed(f"{who}:{NONCE}:00000001:{fields['cnonce']}:auth:{what}")
    assert fields["algorithm"] == "SHA-256"
    assert "opaque" not in fields


def test_method_and_address_are_part_of_the_answer() -> None:
    describe = Request("DESCRIBE", "rtsp://camera/1")
    fields = answered(OLD, request=describe)
    assert fields["uri"] == "rtsp://camera/1"
    assert fields["response"] == md5(f"939e7578ed9e3c518a452acee763bce9:{NONCE}:{md5('DESCRIBE:rtsp://camera/1')}")


@pytest.mark.parametrize(
    ("challenges", "algorithm"),
    [
        ((BASIC, MD5), None),
        ((MD5, BASIC), None),
        ((f"{BASIC}, {MD5}",), None),
        ((f"{MD5}, {BASIC}",), None),
        ((MD5, SHA256), "SHA-256"),
        ((SHA256, MD5), "SHA-256"),
        ((f"{MD5}, {SHA256}",), "SHA-256"),
        ((SHA256.replace("SHA-256", "sha-256"), MD5), "sha-256"),
        ((f"{OLD}, algorithm=MD5",), "MD5"),
        (("Negotiate", "NTLM", MD5), None),
        ((SHA256.replace("SHA-256", "SHA-512-256"), MD5), None),
        ((SHA256.replace('"auth"', '"auth-int"'), MD5), None),
    ],
)
def test_the_safest_that_is_known_is_answered(challenges: tuple[str, ...], algorithm: str | None) -> None:
    fields = answered(*challenges)
    assert fields.get("algorithm") == algorithm
    assert "password" not in fields


@pytest.mark.parametrize(
    "challenges",
    [
        (),
        ("",),
        ("Negotiate",),
        ("Bearer realm=x",),
        (SHA256.replace("SHA-256", "SHA-512-256"), BASIC),
        (SHA256.replace("SHA-256", "MD5-sess"), BASIC),
        (MD5.replace("auth,auth-int", "auth-int"), BASIC),
    ],
)
def test_what_is_not_known_is_refused_and_does_not_fall_back_to_the_password(challenges: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="must be Basic, or Digest") as caught:
        answer_challenges(challenges, MUFASA, INDEX)
    assert "Circle" not in str(caught.value)


@pytest.mark.parametrize("challenge", [BASIC, "basic", "BASIC realm=x", 'Basic realm="a, b=c", charset="UTF-8"'])
def test_basic_where_a_camera_wants_nothing_else(challenge: str) -> None:
    answer = answer_challenges([challenge], MUFASA, INDEX)
    assert answer == "Basic " + base64.b64encode(b"Mufasa:Circle Of Life").decode()


def test_commas_and_signs_within_quotes_divide_nothing() -> None:
    fields = answered(f'Digest realm="a, Basic realm=b, c", nonce="{NONCE}=="')
    assert fields["realm"] == "a, Basic realm=b, c"
    assert fields["nonce"] == f"{NONCE}=="
    assert fields["response"] == md5(
        f"{md5('Mufasa:a, Basic realm=b, c:Circle Of Life')}:{NONCE}==:39aff3a2bab6126f332b942af96d3366"
    )


@pytest.mark.parametrize(
    ("text", "user", "password", "target", "bare"),
    [
        ("http://bob:a%40b%3Ac@cam/v?x=1", "bob", "a@b:c", "/v?x=1", "http://cam/v?x=1"),
        ("http://bob@cam", "bob", "", "/", "http://cam"),
        ("https://bob:p#q?r@cam:8443/v", "bob", "p#q?r", "/v", "https://cam:8443/v"),
        ("rtsp://a@b:c@d@cam/1", "a@b", "c@d", "/1", "rtsp://cam/1"),
    ],
)
def test_an_address_gives_the_login_and_keeps_it_out_of_the_request(
    text: str, user: str, password: str, target: str, bare: str
) -> None:
    address = parse_address(text)
    assert address.credentials == Credentials(user, password)
    assert (address.request_target, address.without_credentials) == (target, bare)
    if password:
        assert password not in repr(address) + address.shown + address.without_credentials + repr(address.credentials)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("rtsp://cam", ("cam", 554)),
        ("RTSPS://Cam/1", ("cam", 322)),
        ("http://bob:x@cam/", ("cam", 80)),
        ("https://cam", ("cam", 443)),
        ("http://[::1]:8080/v", ("::1", 8080)),
    ],
)
def test_the_port_is_the_schemes_unless_it_is_given(text: str, place: tuple[str, int]) -> None:
    assert parse_address(text).host_and_port == place
