"""``engram bank``: a bank made from another, written to a file, read from one."""

from pathlib import Path
from typing import Annotated

import typer

from engram.build.adapters import open_store
from engram.build.bundles import bundle_folder
from engram.cli.bank_facts import EVERY_VERSION, AuthorOption, BankArgument, ReasonOption, print_bank, signature
from engram.cli.invocation import Invocation, command
from engram.cli.options import BundleOption, StoreOption
from engram.cli.output import OutputOption, print_json_line
from memory_store.bank import Bank, entry_for, entry_of
from memory_store.coordinator.archive import flaw_of
from memory_store.coordinator.guards import distance_to_anchor
from memory_store.interventions import SHORT, fork, kept_version, make_bank, newest_sound, replace_items
from memory_store.verification import ALL_ENTRIES
from memory_store.views import InitialBank
from schemas.errors import FatalError
from schemas.settings import CoordinatorSettings

VersionOption = Annotated[int | None, typer.Option("--version", metavar="N", min=0, help="Default: the newest.")]
NewArgument = Annotated[str, typer.Argument(metavar="NEW", help="Name of the bank to make.")]
ToFileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="To write; must not exist.")]
FromFileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="Written by 'engram bank export'.")]
IntoArgument = Annotated[str | None, typer.Argument(metavar="BANK", help="Default: the name it was exported under.")]
ReplaceOption = Annotated[
    bool, typer.Option("--replace", help="Put the items in the place of those of a bank that exists.")
]


def register(group: typer.Typer) -> None:
    """Add the commands to ``group``."""
    command(group, "fork")(fork_bank)
    command(group, "export", extra="coordinator")(export_bank)
    command(group, "import", extra="coordinator")(import_bank)


def fork_bank(
    run: Invocation,
    bank: BankArgument,
    new: NewArgument,
    version: VersionOption = None,
    reason: ReasonOption = "",
    author: AuthorOption = None,
    store: StoreOption = None,
    output: OutputOption = "text",
) -> None:
    """Make a bank with what another one has learned; from then on each learns for itself.

    Example: engram bank fork lobby lobby-night --reason "nights differ"
    """
    settings = run.settings(CoordinatorSettings, {"store.url": store})
    by = signature(author, reason)
    with open_store(settings.store, EVERY_VERSION) as banks:
        source = kept_version(banks, newest_sound(banks, bank), version)
        print_bank(fork(banks, source, new, by), output)


def export_bank(
    run: Invocation,
    bank: BankArgument,
    file: ToFileArgument,
    version: VersionOption = None,
    store: StoreOption = None,
    output: OutputOption = "text",
) -> None:
    """Write one version of a bank to a file, with its entry of the log and a digest of it all.

    The file is in safetensors format: the tensor 'items', and the header as metadata. It holds features, no pictures.

    Example: engram bank export lobby lobby-52.bank --version 52
    """
    settings = run.settings(CoordinatorSettings, {"store.url": store})
    from memory_store.bank_file import write_bank_file  # noqa: PLC0415 - needs an extra

    with open_store(settings.store, EVERY_VERSION) as banks:
        source = kept_version(banks, newest_sound(banks, bank), version)
        entry = entry_of(source, banks.log(bank, ALL_ENTRIES))
    if entry is None:  # the store has lost its log
        change = signature(None).change("restore", "exported without its entry, which the log lacks")
        entry = entry_for(source, change, None, None)
    write_bank_file(file, source, entry)
    if output == "json":
        print_json_line({"file": str(file), "bank_id": bank, "version": source.version, "digest": source.digest})
    else:
        print(f"written: {file}, bank '{bank}' v{source.version}, items {source.digest[:SHORT]}")


def import_bank(
    run: Invocation,
    file: FromFileArgument,
    bank: IntoArgument = None,
    replace: ReplaceOption = False,
    bundle: BundleOption = None,
    reason: ReasonOption = "",
    author: AuthorOption = None,
    store: StoreOption = None,
    output: OutputOption = "text",
) -> None:
    """Make a bank from a file, or with --replace write its items as the next version of one that exists.

    The items are judged like an update: of the bundle, of its shape and length, within coordinator.max_anchor_distance.

    Example: engram bank import lobby-52.bank lobby-2 --bundle models/lobby

    Into the bank that it came from: engram bank import lobby-52.bank --replace --bundle models/lobby
    """
    settings = run.settings(CoordinatorSettings, {"store.url": store, "worker.bundle": bundle})
    by = signature(author, reason)
    initial = _initial(bundle_folder(settings.worker.bundle))
    from memory_store.bank_file import read_bank_file  # noqa: PLC0415 - needs an extra

    exported = read_bank_file(file)
    source = exported.bank
    _require_fit(file, source, initial, settings.coordinator.max_anchor_distance)
    name = source.bank_id if bank is None else bank
    origin = f"import of '{source.bank_id}' v{source.version}, items {source.digest[:SHORT]}"
    distance = distance_to_anchor(source.items_MC, initial.items_MC)
    change = by.change("restore" if replace else "create", origin, distance)
    with open_store(settings.store, EVERY_VERSION) as banks:
        write = replace_items if replace else make_bank
        print_bank(write(banks, name, source, change, by.at), output)


def _initial(bundle: Path) -> InitialBank:
    from bundles.bundle import load_initial_bank  # noqa: PLC0415 - needs an extra

    items = load_initial_bank(bundle)
    return InitialBank.of_items(items)


def _require_fit(file: Path, source: Bank, initial: InitialBank, limit: float) -> None:
    flaw = flaw_of(source, initial, limit)
    if flaw is not None:
        text = f"the bank in '{file}' must be one that updates could have led to, {flaw.reason}: {flaw.detail}"
        raise FatalError(f"{text}; name its own bundle, or export another version")
