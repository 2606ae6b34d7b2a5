"""Media in a bucket of S3, or of anything that speaks its API (MinIO, Ceph, Garage)."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from consumers.media.store import BUCKET, Stored
from schemas.errors import FatalError, SettingsError, TransientError

_MISSING = {"NoSuchKey", "404"}
_REFUSED = {
    "403",
    "AccessDenied",
    "AllAccessDisabled",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidBucketName",
    "InvalidToken",
    "NoSuchBucket",
    "PermanentRedirect",
    "SignatureDoesNotMatch",
}
_CALLS = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "max_attempts": 2})
"""Few tries here: whoever calls tries on, and says so."""


class S3Store:
    """See ``store.MediaStore``. Credentials are where boto3 looks for them: environment, files, the machine's role.

    Args:
        bucket: must exist.
        prefix: of all keys, without a slash at its end; may be empty.
        endpoint_url: of a server that is not Amazon's; None = Amazon.
    """

    def __init__(self, bucket: str, prefix: str = "", endpoint_url: str | None = None) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._where = f"the bucket '{bucket}'" + (f" at {endpoint_url}" if endpoint_url else "")
        with self._told("be reached"):
            self._client: Any = boto3.Session().client("s3", endpoint_url=endpoint_url, config=_CALLS)

    def check(self) -> None:
        """See ``store.MediaStore``."""
        with self._told("let us list it"):
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)

    def put(self, name: str, content: bytes, content_type: str) -> None:
        """See ``store.MediaStore``."""
        with self._told("take a file"):
            self._client.put_object(Bucket=self._bucket, Key=self._key(name), Body=content, ContentType=content_type)

    def get(self, name: str) -> bytes | None:
        """See ``store.MediaStore``."""
        with self._told("let us read"):
            try:
                found = self._client.get_object(Bucket=self._bucket, Key=self._key(name))
            except ClientError as error:
                if _code(error) in _MISSING:
                    return None
                raise
            content: bytes = found["Body"].read()
            return content

    def uri(self, name: str) -> str:
        """See ``store.MediaStore``."""
        return f"s3://{self._bucket}/{self._key(name)}"

    def link(self, name: str, seconds: int) -> str:
        """An address by which anybody may read a file for a while; whether it is there is not asked."""
        with self._told("let us sign a link"):
            place = {"Bucket": self._bucket, "Key": self._key(name)}
            signed: str = self._client.generate_presigned_url("get_object", place, ExpiresIn=seconds)
            return signed

    def stored(self) -> Iterator[Stored]:
        """See ``store.MediaStore``."""
        with self._told("let us list it"):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            for page in pages:
                for found in page.get("Contents", ()):
                    yield Stored(found["Key"].removeprefix(self._prefix), found["Size"], found["LastModified"])

    def delete(self, name: str) -> None:
        """See ``store.MediaStore``."""
        with self._told("let us delete"):
            self._client.delete_object(Bucket=self._bucket, Key=self._key(name))

    def _key(self, name: str) -> str:
        return self._prefix + name

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except (NoCredentialsError, PartialCredentialsError) as error:
            text = f"{self._where} needs credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            raise FatalError(f"{text}, or what else boto3 reads ({error})") from error
        except ClientError as error:
            text = f"{self._where} must {what}, it said {_code(error)}: {error.response['Error'].get('Message', '')}"
            if _code(error) in _REFUSED:
                raise FatalError(f"{text}; look at its name, at the credentials, and at what they may do") from error
            raise TransientError(text) from error
        except ValueError as error:  # an address that is none
            raise FatalError(f"{self._where} must have an address that can be used: {error}") from error
        except BotoCoreError as error:
            raise TransientError(f"{self._where} must {what}: {error}") from error


def bucket_at(place: str, endpoint_url: str | None = None) -> S3Store:
    """The store at ``s3://bucket/prefix``, which has not been asked yet.

    Raises:
        SettingsError: an address that names no bucket.
    """
    found = re.fullmatch(r"([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([A-Za-z0-9._/-]*))?", place.removeprefix(BUCKET))
    if found is None:
        raise SettingsError(f"a bucket must be given as s3://bucket or s3://bucket/prefix, got {place:.200}")
    return S3Store(found[1], (found[2] or "").strip("/"), endpoint_url)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
