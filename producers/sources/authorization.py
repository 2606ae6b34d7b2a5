"""The two ways a camera checks who asks: HTTP Basic (RFC 7617) and Digest (RFC 7616, MD5 and SHA-256; RTSP too)."""

import base64
import hashlib
import secrets
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from producers.sources.address import Credentials


@dataclass(frozen=True, slots=True)
class Request:
    """What is being asked for."""

    method: str
    uri: str


def basic_authorization(credentials: Credentials) -> str:
    """Value of the ``Authorization`` header."""
    pair = f"{credentials.user}:{credentials.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def answer_challenges(challenges: Sequence[str], credentials: Credentials, request: Request) -> str:
    """Value of the ``Authorization`` header that answers the safest of the ``WWW-Authenticate`` headers.

    Basic, which shows the password to whoever listens, only where nothing better is offered.

    Raises:
        ValueError: none of them is Basic, or Digest with MD5 or SHA-256.
    """
    offered = [one for challenge in challenges for one in _split(challenge)]
    digests = [fields for scheme, fields in offered if scheme == "digest"]
    for algorithm in ("SHA-256", "MD5"):
        for fields in digests:
            if fields.get("algorithm", "MD5").upper() == algorithm and _has_known_protection(fields):
                return _digest(fields, credentials, request)
    if digests or not any(scheme == "basic" for scheme, _ in offered):
        schemes = sorted({scheme for scheme, _ in offered})
        raise ValueError(f"a login must be Basic, or Digest with MD5 or SHA-256, got {schemes}")
    return basic_authorization(credentials)


def _split(header: str) -> list[tuple[str, dict[str, str]]]:
    """The challenges of one header, which may hold several: scheme in small letters, and fields."""
    found: list[tuple[str, list[str]]] = []
    for part in urllib.request.parse_http_list(header):
        scheme, space, rest = part.strip().partition(" ")
        if "=" not in scheme:  # a new challenge; its first field, if any, follows the blank
            found.append((scheme.lower(), [rest.strip()] if space and "=" in rest else []))
        elif found:
            found[-1][1].append(part)
    return [(scheme, urllib.request.parse_keqv_list(fields)) for scheme, fields in found]


def _has_known_protection(fields: Mapping[str, str]) -> bool:
    qop = fields.get("qop", "")
    return not qop or "auth" in [word.strip() for word in qop.split(",")]


def _digest(fields: Mapping[str, str], credentials: Credentials, request: Request) -> str:
    sha256 = fields.get("algorithm", "MD5").upper() == "SHA-256"
    hashed = _sha256 if sha256 else _md5
    realm, nonce = fields.get("realm", ""), fields.get("nonce", "")
    who = hashed(f"{credentials.user}:{realm}:{credentials.password}")
    what = hashed(f"{request.method}:{request.uri}")
    sent = {"username": credentials.user, "realm": realm, "nonce": nonce, "uri": request.uri}
    if "opaque" in fields:
        sent["opaque"] = fields["opaque"]
    extra = [f"algorithm={fields['algorithm']}"] if "algorithm" in fields else []
    if fields.get("qop"):
        count, client_nonce = "00000001", secrets.token_hex(8)
        sent["response"] = hashed(f"{who}:{nonce}:{count}:{client_nonce}:auth:{what}")
        sent["cnonce"] = client_nonce
        extra += ["qop=auth", f"nc={count}"]
    else:
        sent["response"] = hashed(f"{who}:{nonce}:{what}")
    return "Digest " + ", ".join([*(f'{name}="{value}"' for name, value in sent.items()), *extra])


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
