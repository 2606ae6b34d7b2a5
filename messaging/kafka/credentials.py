"""Passwords and tokens that change while a process runs: read anew from their file at each login.

The client takes a password once, as text, for its life. So the mechanisms are registered anew as ones that look into
the file when a connection logs in; a broker that ends sessions (``connections.max.reauth.ms``) has them do so between.
"""

from typing import Any

from kafka.net.sasl import get_sasl_mechanism, register_sasl_mechanism
from kafka.net.sasl.oauth import AbstractTokenProvider

from schemas.credentials import CredentialFile

PASSWORD = "sasl_plain_password"


class TokenFile(AbstractTokenProvider):  # type: ignore[misc]
    """Tokens for OAUTHBEARER; whoever issues them writes them into the file."""

    def __init__(self, file: CredentialFile) -> None:
        super().__init__()
        self._file = file

    def token(self) -> str:
        """The newest."""
        return self._file.now()


def _with_fresh_password(mechanism: Any) -> Any:
    def login(**config: Any) -> Any:
        password = config.get(PASSWORD)
        fresh = {PASSWORD: password.now()} if isinstance(password, CredentialFile) else {}
        return mechanism(**config | fresh)

    return login


for _name in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
    register_sasl_mechanism(_name, _with_fresh_password(get_sasl_mechanism(_name)), overwrite=True)
