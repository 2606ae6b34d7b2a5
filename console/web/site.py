"""What all pages share: the parts they ask, how they are drawn, and who is asking."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from console import words
from console.access import Access, Grant
from console.board import Board
from console.media import MediaPlace
from console.memory import MemoryDesk
from console.plumbing import Plumbing
from schemas.verdicts import OperatorVerdict
from schemas.version import software_version

HERE = Path(__file__).resolve().parents[1]
STATIC = HERE / "static"
STALE_LOG_S = 15.0
"""The log is said to be away when it has not answered for so long."""
MOST_BRIDGED = 3
"""Seconds without a score that a curve goes over: scores come in batches."""


@dataclass(frozen=True, slots=True)
class Health:
    """How old what the console shows may be, in seconds, and what is wrong in words; None = nothing."""

    log_silent_s: float
    reader_silent_s: float
    lag: int
    trouble: str | None = None

    @property
    def is_stale(self) -> bool:
        """Whether people must be told."""
        return max(self.log_silent_s, self.reader_silent_s) > STALE_LOG_S or self.trouble is not None


@dataclass(frozen=True, slots=True)
class Parts:
    """What the pages are about.

    Attributes:
        say: publishes a verdict; returns once the log has it, and raises TransientError where it does not take it.
        memory: the store's banks; None = the console has no store.
        media: where pictures and clips lie; None = the console does not reach them.
    """

    board: Board
    access: Access
    say: Callable[[OperatorVerdict], None]
    health: Callable[[], Health]
    plumbing: Callable[[], Plumbing]
    memory: MemoryDesk | None = None
    media: MediaPlace | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where the pages lie.

    Attributes:
        base: path before every address, as in ``/engram``; empty = none.
        login_by_link: whether ``/login?token=…`` logs in; for a token of this run, on this machine.
        grafana: address of a dashboard to link to.
    """

    base: str = ""
    login_by_link: bool = False
    grafana: str | None = None


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks. ``csrf`` None: by a token in the request itself, which no other site can make a browser send."""

    grant: Grant
    csrf: str | None


class Site:
    """Draws pages. Everything in them is escaped; there is no inline script and no inline style."""

    def __init__(self, parts: Parts, place: Place) -> None:
        self.parts = parts
        self.place = place
        self._shared: dict[str, Any] = {
            "base": place.base,
            "static": f"{place.base}/static",
            "grafana": place.grafana,
            "has_memory": parts.memory is not None,
            "has_media": parts.media is not None,
        }

    def url(self, path: str) -> str:
        """An address of ours, as a browser must ask for it."""
        return f"{self.place.base}{path}"

    def page(
        self, name: str, visitor: Visitor | None, context: Mapping[str, Any] | None = None, status: int = 200
    ) -> HTMLResponse:
        """A page or a part of one."""
        now: datetime = self.parts.board.now()
        shared = self._shared | {
            "visitor": visitor,
            "now": now,
            "ago": lambda at: words.ago(at, now),
            "health": self.parts.health(),
        }
        return HTMLResponse(_templates().get_template(name).render(shared | dict(context or {})), status)


@cache
def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "utc": words.utc,
        "iso": _iso,
        "lasting": words.lasting,
        "odds": words.odds,
        "json": json.dumps,
        "spark": spark_points,
    }
    made.globals |= {
        "software": software_version(),
        "stamp": _stamp(),
        "counted": words.counted,
        "evidence_words": words.EVIDENCE,
        "trouble_words": words.TROUBLES,
        "end_words": words.END_REASONS,
        "severities": words.SEVERITIES,
    }
    return made


def spark_points(values: Sequence[float | None], height: float = 24.0) -> list[str]:
    """Scores as the points of an SVG's lines, one unit a value; a line for each stretch without a longer gap."""
    lines: list[list[str]] = [[]]
    last = 0
    for number, value in enumerate(values):
        if value is None:
            continue
        if number - last > MOST_BRIDGED:
            lines.append([])
        lines[-1].append(f"{number},{height - value * height:.1f}")
        last = number
    return [" ".join(line if len(line) > 1 else line * 2) for line in lines if line]


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")


def _stamp() -> str:
    """Changes with the files that browsers keep."""
    files = sorted(path for path in STATIC.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:10]
