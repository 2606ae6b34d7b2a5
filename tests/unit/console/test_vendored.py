"""Files of others are those that the table beside them names."""

import hashlib
import re

from console.web.site import STATIC

VENDOR = STATIC / "vendor"


def test_the_table_tells_the_files() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|.*`([0-9a-f]{64})` \|$", (VENDOR / "README.md").read_text(), re.MULTILINE)
    assert {name for name, _ in rows} == {path.name for path in VENDOR.iterdir() if path.suffix in {".js", ".css"}}
    for name, digest in rows:
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest


def test_nothing_is_asked_of_other_machines() -> None:
    """Addresses in our own pages and scripts are our own."""
    ours = [*STATIC.glob("*.js"), *STATIC.glob("*.css"), *(STATIC.parent / "templates").rglob("*.html")]
    assert len(ours) > 15
    assert not [path.name for path in ours if re.search(r"https?://|src=\"//", path.read_text())]


def test_no_page_has_code_or_style_of_its_own() -> None:
    pages = {path.name: path.read_text() for path in (STATIC.parent / "templates").rglob("*.html")}
    assert not [
        name for name, text in pages.items() if re.search(r"<script(?![^>]*\bsrc=)|\bstyle=|<style|\bon[a-z]+=", text)
    ]
    assert not [name for name, text in pages.items() if "|safe" in text or "autoescape" in text]
