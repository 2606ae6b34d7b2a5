"""A bucket as a store, over HTTP, against a server that speaks S3: moto's, which checks credentials when told to."""

import socket
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import boto3
import pytest
from moto.server import ThreadedMotoServer

from consumers.media.s3 import S3Store
from consumers.media.store import Retention, sweep
from schemas.errors import FatalError, TransientError

NAME = "gate/2026-03-01/gate_s1_20-01234567.mp4"
REGION = "us-east-1"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("DEFAULT_REGION", REGION)):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")


@pytest.fixture
def store(endpoint: str) -> S3Store:
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="yard")
    made = S3Store("yard", "site-a", endpoint)
    made.check()
    for file in list(made.stored()):
        made.delete(file.name)
    return made


def test_what_was_put_is_there_with_its_type(store: S3Store, endpoint: str) -> None:
    assert store.get(NAME) is None
    store.put(NAME, b"one", "video/mp4")
    store.put(NAME, b"two", "video/mp4")
    assert store.get(NAME) == b"two"
    assert store.uri(NAME) == f"s3://yard/site-a/{NAME}"
    found = boto3.client("s3", endpoint_url=endpoint).head_object(Bucket="yard", Key=f"site-a/{NAME}")
    assert found["ContentType"] == "video/mp4"


def test_a_sweep_keeps_to_its_own_prefix(store: S3Store, endpoint: str) -> None:
    other = S3Store("yard", "site-b", endpoint)
    store.put(NAME, b"one", "video/mp4")
    other.put(NAME, b"two", "video/mp4")
    assert sweep(store, Retention(timedelta(days=1)), datetime.now(timezone.utc) + timedelta(days=2)) == 1
    assert list(store.stored()) == []
    assert other.get(NAME) == b"two"


def test_a_bucket_that_is_not_there_is_refused(endpoint: str) -> None:
    with pytest.raises(FatalError, match=r"the bucket 'nowhere' at http.*NoSuchBucket.*look at its name"):
        S3Store("nowhere", "", endpoint).check()


def test_credentials_that_are_wrong_are_refused(store: S3Store, endpoint: str) -> None:
    ask(f"{endpoint}/moto-api/reset-auth", b"0")
    try:
        with pytest.raises(FatalError, match=r"said InvalidAccessKeyId: .*look at its name, at the credentials"):
            store.check()
        with pytest.raises(FatalError, match=r"must take a file, it said InvalidAccessKeyId"):
            store.put(NAME, b"one", "video/mp4")
        with pytest.raises(FatalError, match=r"must let us read, it said InvalidAccessKeyId"):
            store.get(NAME)
    finally:
        ask(f"{endpoint}/moto-api/reset-auth", b"1000000")


def ask(url: str, body: bytes) -> None:
    with urllib.request.urlopen(
        urllib.request.Request(url, body, {"content-type": "text/plain"}), timeout=60
    ) as answer:
        assert answer.status == 200


def test_without_credentials_it_says_what_to_set(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(FatalError, match="needs credentials: set AWS_ACCESS_KEY_ID"):
        S3Store("yard", "", endpoint).check()


def test_a_server_that_is_away_is_waited_for() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        store = S3Store("yard", "", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(TransientError, match=r"the bucket 'yard' at http.* must let us read"):
            store.get(NAME)


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(FatalError, match="must have an address that can be used"):
        S3Store("yard", "", "minio:9000")


def test_a_signed_link_opens_a_file_without_credentials(store: S3Store) -> None:
    store.put(NAME, b"film", "video/mp4")
    link = store.link(NAME, 60)
    with urllib.request.urlopen(link, timeout=60) as answer:
        assert (answer.read(), answer.headers["content-type"]) == (b"film", "video/mp4")
    assert "Signature" in link
