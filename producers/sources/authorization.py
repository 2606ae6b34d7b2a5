"""The two ways a camera checks who asks: HTTP Basic (RFC 7617) and Digest (RFC 2617, MD5, as RTSP uses it)."""

import base64
import hashlib
import urllib.request
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


def answer_challenge(challenge: str, credentials: Credentials, request: Request) -> str:
    """Value of the ``Authorization`` header that answers a ``WWW-Authenticate`` header.

    Raises:
        ValueError: neither Basic nor Digest.
    """
    scheme, _, rest = challenge.strip().partition(" ")
    if scheme.lower() == "basic":
        return basic_authorization(credentials)
    if scheme.lower() != "digest":
        raise ValueError(f"challenge must be Basic or Digest, got {scheme}")
    fields = urllib.request.parse_keqv_list(urllib.request.parse_http_list(rest))
    return _digest(fields, credentials, request)


def _digest(fields: dict[str, str], credentials: Credentials, request: Request) -> str:
    realm, nonce = fields.get("realm", ""), fields.get("nonce", "")
    who = _md5(f"{credentials.user}:{realm}:{credentials.password}")
    what = _md5(f"{request.method}:{request.uri}")
    sent = {"username": credentials.user, "realm": realm, "nonce": nonce, "uri": request.uri}
    if "auth" in [word.strip() for word in fields.get("qop", "").split(",")]:
        count, client_nonce = "00000001", _md5(nonce)[:16]
        sent["response"] = _md5(f"{who}:{nonce}:{count}:{client_nonce}:auth:{what}")
        quoted = [f'{name}="{value}"' for name, value in (*sent.items(), ("cnonce", client_nonce))]
        return f"Digest {', '.join((*quoted, 'qop=auth', f'nc={count}'))}"
    sent["response"] = _md5(f"{who}:{nonce}:{what}")
    return "Digest " + ", ".join(f'{name}="{value}"' for name, value in sent.items())


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
