"""Authorities and the certificates they sign, made by openssl for tests of TLS."""

import subprocess
from pathlib import Path

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def authority(folder: Path, name: str) -> Path:
    """A new one; its key lies beside it as ``NAME.key``."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    _openssl("req", "-x509", *_NEW_KEY, "-days", "2", "-subj", f"/CN={name}", "-keyout", key, "-out", cert)
    return cert


def signed(folder: Path, name: str, by: Path) -> tuple[Path, Path]:
    """A certificate for the host ``name`` that the authority ``by`` has signed, and its key."""
    cert, key, request, names = (folder / f"{name}.{end}" for end in ("pem", "key", "csr", "ext"))
    names.write_text(f"subjectAltName=DNS:{name}\n")
    _openssl("req", *_NEW_KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
    signer = ["-CA", by, "-CAkey", by.with_suffix(".key"), "-CAcreateserial"]
    _openssl("x509", "-req", *signer, "-days", "2", "-extfile", names, "-in", request, "-out", cert)
    return cert, key


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)
