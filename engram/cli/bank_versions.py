"""``engram bank``: versions compared, gone back to, frozen, proved."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from consumers.durations import duration
from engram.build.adapters import open_store
from engram.build.options import bank_of
from engram.cli.bank_facts import (
    EVERY_VERSION,
    AuthorOption,
    BankArgument,
    Intervention,
    PlotOption,
    ReasonOption,
    entries_json,
    facts,
    print_bank,
    print_entries,
    reasoned,
    signature,
)
from engram.cli.errors import EXIT_FAULT
from engram.cli.invocation import Invocation, command
from engram.cli.options import StoreOption
from engram.cli.output import Output, OutputOption, print_json_line, print_table
from memory_store.bank import Bank
from memory_store.comparison import Comparison, compare
from memory_store.interventions import SHORT, kept_version, learn_anew, newest_of, newest_sound, roll_back
from memory_store.store import BankStore
from memory_store.verification import ALL_ENTRIES, Verification
from memory_store.verification import verify as verify_bank
from schemas.arrays import Float32
from schemas.errors import BundleError, SettingsError
from schemas.settings import CoordinatorSettings

BeforeArgument = Annotated[int, typer.Argument(metavar="A", min=0, help="One version, as in 'engram bank log'.")]
AfterArgument = Annotated[int | None, typer.Argument(metavar="B", min=0, help="The other. Default: the newest.")]
AnchorOption = Annotated[
    Path | None, typer.Option("--bundle", help="Folder of the bank's bundle: also tells how far items are from it.")
]
ToOption = Annotated[int, typer.Option("--to", metavar="N", min=0, help="Version whose items come back.")]
AnyBankArgument = Annotated[str | None, typer.Argument(metavar="BANK", help="Name of the bank.")]
CameraOption = Annotated[
    str | None, typer.Option("--camera", help="In place of BANK: the bank that is this camera's alone.")
]
ForOption = Annotated[
    str | None,
    typer.Option("--for", help="How much normal video, as in 90s, 10m, 2h. Default: as memory.learn_s says."),
]
AllOption = Annotated[bool, typer.Option("--all", help="All banks of the store.")]
MOST_ITEMS = 20
"""Rows of the table; programs get all items."""


def register(group: typer.Typer) -> None:
    """Add the commands to ``group``."""
    command(group, "diff")(diff)
    command(group, "rollback")(rollback)
    command(group, "learn")(learn)
    command(group, "freeze")(freeze)
    command(group, "thaw")(thaw)
    command(group, "verify")(verify)


def diff(
    run: Invocation,
    bank: BankArgument,
    before: BeforeArgument,
    after: AfterArgument = None,
    bundle: AnchorOption = None,
    plot: PlotOption = None,
    store: StoreOption = None,
    output: OutputOption = "text",
) -> None:
    """Compare two kept versions of a bank: how far each item moved, and who led from the one to the other.

    Distances are Euclidean between items of length 1, so from 0 to 2.

    Example: engram bank diff lobby 40 52

    With the distances to the trained items and a picture: engram bank diff lobby 40 --bundle models/lobby --plot d.png
    """
    settings = run.settings(CoordinatorSettings, {"store.url": store})
    with open_store(settings.store, EVERY_VERSION) as banks:
        newest = newest_sound(banks, bank)
        one = kept_version(banks, newest, before)
        other = kept_version(banks, newest, after)
        entries = banks.log(bank, ALL_ENTRIES)
    found = compare(one, other, entries, None if bundle is None else _anchor(bundle, newest))
    if output == "json":
        print_json_line(_comparison_json(found))
    else:
        _print_comparison(found)
    if plot is not None:
        from engram.cli.bank_picture import draw_comparison  # noqa: PLC0415 - needs an extra

        draw_comparison(found, plot)
        if output == "text":
            print(f"drawn: {plot}")


def rollback(
    run: Invocation,
    bank: BankArgument,
    to: ToOption,
    reason: ReasonOption = "",
    author: AuthorOption = None,
    store: StoreOption = None,
    output: OutputOption = "text",
) -> None:
    """Write a new version with the items of an earlier one. Workers read them within a second; scores are as they were.

    Nothing is lost: what came after stays in the log, and can be gone back to as well. The coordinator needs no
    restart: what it has under way is stale, and it goes on from the new version. A frozen bank stays frozen.

    Example: engram bank rollback lobby --to 40 --reason "learned the night shift"
    """
    settings = run.settings(CoordinatorSettings, {"store.url": store})
    by = signature(author, reason)
    with open_store(settings.store, EVERY_VERSION) as banks:
        print_bank(roll_back(banks, bank, to, by), output, items_of_version=to)


def learn(
    run: Invocation,
    bank: AnyBankArgument = None,
    camera: CameraOption = None,
    for_: ForOption = None,
    reason: ReasonOption = "",
    author: AuthorOption = None,
    store: StoreOption = None,
    output: OutputOption = "text",
) -> None:
    """Let a bank learn its camera anew, where the scene has changed for good; or say how long it is to learn.

    What it has counted is forgotten, and so are the verdicts on its events.
    Its cameras are 'learning' again for so much video, in which no event opens, so see to it that what they show is
    normal. 'engram bank rollback' brings back what was forgotten, and how long it was to learn before. Without --for a
    reason must be given.

    Example: engram bank learn gate --reason "the fence was moved"

    A camera of a place where little happens: engram bank learn --camera yard --for 2h
    """
    settings = run.settings(CoordinatorSettings, {"store.url": store})
    learn_s = None if for_ is None else _seconds(for_)
    by = reasoned(author, reason) if for_ is None else signature(author, reason)
    name = _named(bank, camera, settings)
    with open_store(settings.store, EVERY_VERSION) as banks:
        print_bank(learn_anew(banks, name, by, learn_s), output)


def freeze(run: Intervention) -> None:
    """Stop a bank from learning: cameras are scored with it as it is, and what they propose is rejected, until thawed.

    Who froze it and why stands in the log. A rollback and 'import --replace' still work: they are an operator's.

    Example: engram bank freeze lobby --reason "the doors are being rebuilt"
    """
    by = run.by
    with run.banks() as banks:
        is_new = banks.freeze(run.bank, by.change("freeze"), by.at) is not None
        _print_state(banks, run.bank, is_new, run.output)


def thaw(run: Intervention) -> None:
    """Let a frozen bank learn again.

    Example: engram bank thaw lobby --reason "the doors are done"
    """
    by = run.by
    with run.banks() as banks:
        is_new = banks.unfreeze(run.bank, by.change("thaw"), by.at) is not None
        _print_state(banks, run.bank, is_new, run.output)


def verify(
    run: Invocation,
    bank: AnyBankArgument = None,
    every: AllOption = False,
    store: StoreOption = None,
    output: OutputOption = "text",
) -> None:
    """Prove that banks are what their logs say: the chain of entries, its head, and the items of every kept version.

    Exits with 1 if one is not, and names the first broken link. Whoever can write the store can write bank and log
    anew: note the head elsewhere, and compare.

    Example: engram bank verify lobby

    For a nightly job: engram bank verify --all -o json
    """
    if every == (bank is not None):
        raise SettingsError("either a bank or --all must be given; as in 'engram bank verify lobby'")
    settings = run.settings(CoordinatorSettings, {"store.url": store})
    with open_store(settings.store, EVERY_VERSION) as banks:
        found = [verify_bank(banks, name) for name in (banks.list_banks() if bank is None else [bank])]
    if output == "json":
        print_json_line([{**asdict(one), "ok": not one.faults} for one in found])
    else:
        for one in found:
            _print_verification(one)
        if not found:
            print("the store has no banks")
    if any(one.faults for one in found):
        raise typer.Exit(EXIT_FAULT)


def _seconds(text: str) -> float:
    try:
        return duration(text).total_seconds()
    except ValueError as error:
        raise SettingsError(f"--for {error}") from None


def _named(bank: str | None, camera: str | None, settings: CoordinatorSettings) -> str:
    if bank is not None and camera is None:
        return bank
    if camera is not None and bank is None:
        return bank_of(settings, camera)
    raise SettingsError("either a bank or --camera must be given; as in 'engram bank learn gate --for 10m'")


def _anchor(bundle: Path, newest: Bank) -> Float32:
    from bundles.bundle import load_initial_bank  # noqa: PLC0415 - needs an extra

    items = load_initial_bank(bundle)
    if items.bundle_digest != newest.bundle_digest:
        text = f"--bundle must be the one of bank '{newest.bank_id}', {newest.bundle_digest[:SHORT]}"
        raise BundleError(f"{text}; '{bundle}' is {items.bundle_digest[:SHORT]}")
    return items.items_MC


def _comparison_json(found: Comparison) -> dict[str, Any]:
    items = [
        {"item": item, "moved": float(moved), "from_bundle_before": before, "from_bundle_after": after}
        for item, (moved, before, after) in enumerate(_rows(found))
    ]
    return {
        "bank_id": found.before.bank_id,
        "before": facts(found.before),
        "after": facts(found.after),
        "moved_mean": float(found.moved_M.mean()) if found.moved_M.size else 0.0,
        "moved_max": float(found.moved_M.max(initial=0.0)),
        "frames_counted": found.counted,
        "verdicts_gone": [one.event_id for one in found.said_before],
        "verdicts_new": [one.event_id for one in found.said_after],
        "items": items,
        "entries": entries_json(found.entries),
        "is_whole": found.is_whole,
    }


def _rows(found: Comparison) -> list[tuple[float, float | None, float | None]]:
    """Of each item: how far it moved, and how far from the bundle it was before and after."""
    unknown = [None] * len(found.moved_M)
    before = unknown if found.anchor_before_M is None else found.anchor_before_M.tolist()
    after = unknown if found.anchor_after_M is None else found.anchor_after_M.tolist()
    return list(zip(found.moved_M.tolist(), before, after, strict=True))


def _print_comparison(found: Comparison) -> None:
    names = f"v{found.before.version}", f"v{found.after.version}"
    title = f"bank {found.before.bank_id}, {names[0]} to {names[1]}"
    if found.counted is not None:
        print(f"{title}: {found.counted:+,.1f} frames counted as normal, faded ones subtracted")
    for name, said in zip(names, (found.said_before, found.said_after), strict=True):
        for one in said:
            print(f"only {name}: '{one.judgement}' ({one.scope}) of {one.event_id} by {one.operator}")
    if found.moved_M.size:
        _print_moves(found, title, names)
    print_entries("what led from the one to the other", found.entries)
    frames: Counter[str] = Counter()
    for entry in found.entries:
        frames.update(dict(entry.change.cameras))
    if frames:
        print("frames by camera: " + ", ".join(f"{camera} {count}" for camera, count in frames.most_common()))
    if not found.is_whole:
        print("older entries are no longer in the log")


def _print_moves(found: Comparison, title: str, names: tuple[str, str]) -> None:
    mean, most, farthest = found.moved_M.mean(), found.moved_M.max(), found.moved_M.argmax()
    print(f"{title}: items moved {mean:.4f} on average, {most:.4f} at most (item {farthest})")
    order = (-found.moved_M).argsort(kind="stable")[:MOST_ITEMS]
    rows = _rows(found)
    columns = ("item", "moved", *(f"from bundle, {name}" for name in names))
    shown = [(item, *(None if value is None else f"{value:.4f}" for value in rows[item])) for item in order]
    used = 2 if found.anchor_before_M is None else 4
    which = f"the {len(shown)} items that moved most, of {len(rows)}"
    print_table(which, columns[:used], [row[:used] for row in shown])


def _print_state(banks: BankStore, bank_id: str, is_new: bool, output: Output) -> None:
    """The bank, and the entry that says since when it is so."""
    bank = newest_of(banks, bank_id)
    marks = [entry for entry in banks.log(bank_id, ALL_ENTRIES) if not entry.writes_items]
    since = marks[-1] if marks else None
    if output == "json":
        print_json_line({**facts(bank), "changed": is_new, "since": None if since is None else since.to_json()})
        return
    said = f"bank '{bank_id}' v{bank.version} is {'frozen' if bank.frozen else 'not frozen'}"
    if not is_new:
        said += ", and was so before"
    if since is not None:
        at = since.committed_at.strftime("%Y-%m-%d %H:%M:%S")
        said += f": {since.change.action} by {since.change.author}, {at} UTC, {since.change.reason}"
    print(said)


def _print_verification(found: Verification) -> None:
    versions = f"v{found.versions[0]} to v{found.versions[-1]}" if found.versions else "none"
    reach = "from the first" if found.is_from_start else "older ones were trimmed"
    state = "BROKEN" if found.faults else "ok"
    print(f"{state:6} {found.bank_id}: {found.num_entries} entries, {reach}; kept: {versions}; head {found.head}")
    for fault in found.faults:
        print(f"       {fault}")
