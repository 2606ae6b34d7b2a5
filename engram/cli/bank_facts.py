"""What the commands about banks share: their arguments, how they tell of a bank, and who signs what they do."""

import getpass
import os
import socket
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import typer

from engram.build.adapters import open_store
from engram.cli.invocation import Invocation
from engram.cli.options import StoreOption
from engram.cli.output import Output, OutputOption, print_json_line, print_table
from memory_store.bank import AuditEntry, Bank
from memory_store.exemplar import Exemplar
from memory_store.interventions import MAX_AUTHOR, Signature
from memory_store.store import BankStore
from schemas.errors import SettingsError
from schemas.messages import utc_now
from schemas.settings import CoordinatorSettings

BankArgument = Annotated[str, typer.Argument(metavar="BANK", help="Name of the bank.")]
AuthorOption = Annotated[
    str | None, typer.Option("--author", help="Who does this, for the audit log. Default: user@host.")
]
PlotOption = Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw a picture, to a PNG or SVG.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the audit log.")]
LOG_COLUMNS = ("version", "action", "committed", "frames", "cameras", "moved", "from anchor", "author", "reason")
EVERY_VERSION = 10**9
"""Versions that a store keeps when an operator writes: the coordinator alone drops old ones, by its own settings."""


@dataclass(frozen=True, slots=True)
class Intervention(Invocation):
    """One call of a command by which an operator says what a bank may learn, and why."""

    bank: BankArgument
    reason: ReasonOption
    author: AuthorOption = None
    store: StoreOption = None
    output: OutputOption = "text"

    @property
    def by(self) -> Signature:
        """Who does it, why, now.

        Raises:
            SettingsError: the reason, the only trace of it, says nothing.
        """
        return reasoned(self.author, self.reason)

    def banks(self) -> AbstractContextManager[BankStore]:
        """The store, for as long as it is used."""
        return open_store(self.settings(CoordinatorSettings, {"store.url": self.store}).store, EVERY_VERSION)


def signature(author: str | None, reason: str = "") -> Signature:
    """Who does it, why, now.

    Raises:
        SettingsError: author or reason cannot stand in a log.
    """
    return Signature(user_at_host() if author is None else author, reason, utc_now())


def reasoned(author: str | None, reason: str) -> Signature:
    """As ``signature``, where the reason is the only trace of why.

    Raises:
        SettingsError: it says nothing, or cannot stand in a log.
    """
    if not reason.strip():
        raise SettingsError('--reason must say why, got nothing; as in --reason "the doors are being rebuilt"')
    return signature(author, reason)


def facts(bank: Bank) -> dict[str, object]:
    """A bank for programs."""
    num_items, item_dim = bank.items_MC.shape
    return {
        "bank_id": bank.bank_id,
        "version": bank.version,
        "updates": state(bank),
        "items": num_items,
        "item_dim": item_dim,
        "committed_at": bank.committed_at.isoformat(),
        "epoch": bank.epoch,
        "digest": bank.digest,
        "bundle_digest": bank.bundle_digest,
        **_counted(bank),
        **_said(bank.exemplars),
    }


def _counted(bank: Bank) -> dict[str, object]:
    """What a bank has counted as normal, and how long it is to learn (None = as the setting says).

    Nothing of a bank that does not count.
    """
    counts = bank.normality
    if counts is None:
        return {}
    seen_at = None if counts.num_frames == 0 else datetime.fromtimestamp(counts.at_s, timezone.utc).isoformat()
    return {"frames_counted": round(counts.num_frames, 1), "last_seen": seen_at, "learn_s": bank.learn_s}


def _said(exemplars: Sequence[Exemplar]) -> dict[str, object]:
    """How many events operators have called what; nothing where they have not spoken."""
    called = Counter(exemplar.judgement for exemplar in exemplars)
    return (
        {"verdicts": ", ".join(f"{number} {judgement}" for judgement, number in sorted(called.items()))}
        if called
        else {}
    )


def state(bank: Bank) -> str:
    """Whether the bank may be taught."""
    return "frozen" if bank.frozen else "allowed"


def print_bank(bank: Bank, output: Output, **more: object) -> None:
    """One bank, and what else is to be said of it."""
    told = {**facts(bank), **more}
    if output == "json":
        print_json_line(told)
    else:
        print_table(f"bank {bank.bank_id}", ("", ""), list(told.items()))


def print_entries(title: str, entries: Sequence[AuditEntry]) -> None:
    """Lines of an audit log."""
    print_table(title, LOG_COLUMNS, [_row(entry) for entry in entries])


def entries_json(entries: Sequence[AuditEntry]) -> list[dict[str, Any]]:
    """Lines of an audit log for programs."""
    return [entry.to_json() for entry in entries]


def _row(entry: AuditEntry) -> tuple[object, ...]:
    change = entry.change
    at = entry.committed_at.strftime("%Y-%m-%d %H:%M:%S")
    numbers = (change.num_frames, change.num_cameras, f"{change.moved:.4f}", f"{change.anchor_distance:.4f}")
    return entry.version, change.action, at, *numbers, change.author, change.reason


def user_at_host() -> str:
    """Who runs this program, where."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = f"uid{os.getuid()}"
    return f"{user}@{socket.gethostname()}"[:MAX_AUTHOR]
