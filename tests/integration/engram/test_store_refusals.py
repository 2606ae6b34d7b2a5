"""A Redis behind TLS: who trusts it gets in; a certificate that does not do is named and ends what starts."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.local.ports import free_port
from deploy.local.redis import LocalRedis
from engram.cli.app import app
from memory_store.stores.redis import RedisStore
from memory_store.stores.redis_client import RedisAddress
from schemas.errors import FatalError
from tests.certificates import authority, signed

ROOT = Path(__file__).parents[3]
DEADLINE_S = 120.0
BANK_ID = "lobby"


@dataclass(frozen=True, slots=True)
class SecuredRedis:
    """A running Redis whose certificate is for ``localhost``, the authority that signed it, and one that did not."""

    port: int
    trusted: Path
    stranger: Path

    def url(self, host: str = "localhost") -> str:
        return f"rediss://{host}:{self.port}/0"


@pytest.fixture(scope="module")
def secured(redis_requirements: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredRedis]:
    folder = tmp_path_factory.mktemp("secured-redis")
    trusted, stranger = authority(folder, "authority"), authority(folder, "stranger")
    cert, key = signed(folder, "localhost", trusted)
    port = free_port(())
    tls = {"tls-port": port, "tls-cert-file": cert, "tls-key-file": key, "tls-ca-cert-file": trusted}
    server = LocalRedis(folder, {name: str(value) for name, value in tls.items()} | {"tls-auth-clients": "no"})
    try:
        server.start()
        server.wait_ready(DEADLINE_S)
        yield SecuredRedis(port, trusted, stranger)
    finally:
        server.kill()


def read(address: str, worker: bool) -> None:
    made = RedisStore.for_worker if worker else RedisStore.for_coordinator
    store = made(RedisAddress(address))
    try:
        assert store.read(BANK_ID) is None
    finally:
        store.close()


@pytest.mark.parametrize("worker", [True, False])
def test_the_right_authority_and_name_get_in(
    secured: SecuredRedis, monkeypatch: pytest.MonkeyPatch, worker: bool
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(secured.trusted))
    read(secured.url(), worker)


@pytest.mark.parametrize("worker", [True, False])
def test_another_authority_is_named_and_final(
    secured: SecuredRedis, monkeypatch: pytest.MonkeyPatch, worker: bool
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(secured.stranger))
    with pytest.raises(FatalError, match=f"localhost:{secured.port} must show a certificate of an authority trusted"):
        read(secured.url(), worker)


@pytest.mark.parametrize("worker", [True, False])
def test_a_certificate_for_another_name_is_named_and_final(
    secured: SecuredRedis, monkeypatch: pytest.MonkeyPatch, worker: bool
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(secured.trusted))
    with pytest.raises(FatalError, match=r"127\.0\.0\.1:\d+ must show a certificate for the host .* '127\.0\.0\.1'"):
        read(secured.url("127.0.0.1"), worker)


@pytest.mark.parametrize(
    ("process", "host", "is_trusted", "says"),
    [
        ("work", "localhost", False, "must show a certificate of an authority trusted here"),
        ("coordinate", "127.0.0.1", True, "must show a certificate for the host that store.url names"),
    ],
)
def test_a_process_ends_at_its_start_and_says_why(
    secured: SecuredRedis, settings: dict[str, str], process: str, host: str, is_trusted: bool, says: str
) -> None:
    authorities = {"SSL_CERT_FILE": str(secured.trusted if is_trusted else secured.stranger)}
    environment = {**os.environ, **settings, **authorities, "ENGRAM_STORE__URL": secured.url(host)}
    assert CliRunner().invoke(app, ["topics", "create"], env=settings).exit_code == 0
    command = [sys.executable, "-m", "engram", process]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 2, done.stderr
    assert says in done.stderr.splitlines()[-1]
    assert " is away" not in done.stderr
    assert "is it up" not in done.stderr
