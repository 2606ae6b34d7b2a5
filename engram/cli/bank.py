"""``engram bank``: look into the memory, make a bank; what changes one is in ``bank_versions`` and ``bank_copies``."""

import sys
from typing import Annotated

import typer

from engram.build.adapters import open_store
from engram.build.bundles import bundle_folder
from engram.cli import bank_copies, bank_versions
from engram.cli.bank_facts import BankArgument, PlotOption, entries_json, facts, print_bank, print_entries, state
from engram.cli.bank_rights import acls
from engram.cli.invocation import Invocation, command
from engram.cli.options import BundleOption, StoreOption
from engram.cli.output import OutputOption, print_json_line, print_table
from memory_store.bank import Change, next_epoch
from memory_store.interventions import SHORT
from memory_store.store import all_banks
from memory_store.views import InitialBank
from schemas.errors import DamagedError, FatalError
from schemas.messages import utc_now
from schemas.settings import CoordinatorSettings

NewestOption = Annotated[int, typer.Option("--newest", "-n", min=1, help="How many entries, counted from the newest.")]

HELP = """Look into memory banks, compare their versions, go back, copy them, prove that nobody changed them.

After a bad night: 'bank freeze lobby --reason …' stops the damage, 'bank log lobby' says who taught what, 'bank diff
lobby 40 52' how far it moved, 'bank rollback lobby --to 40' goes back, 'bank thaw lobby --reason …' lets cameras teach
again. Nothing is ever taken out of the log: each of these writes an entry."""


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(no_args_is_help=True, help=HELP)
    command(group, "list")(list_banks)
    command(group, "show")(show)
    command(group, "log")(log)
    command(group, "create", extra="coordinator")(create)
    command(group, "acls", extra="coordinator")(acls)
    bank_versions.register(group)
    bank_copies.register(group)
    app.add_typer(group, name="bank")


def list_banks(run: Invocation, store: StoreOption = None, output: OutputOption = "text") -> None:
    """List all banks of the store with their newest version. One that is damaged is told after the others.

    Example: engram bank list --store redis://127.0.0.1:6379/0
    """
    settings = run.settings(CoordinatorSettings, {"store.url": store})
    with open_store(settings.store) as banks:
        found, damaged = all_banks(banks)
    if output == "json":
        print_json_line([facts(bank) for bank in found])
    else:
        rows = [(bank.bank_id, bank.version, state(bank), bank.committed_at, bank.digest[:SHORT]) for bank in found]
        print_table("banks", ("bank", "version", "updates", "committed", "digest"), rows)
    if damaged:
        raise DamagedError("; ".join(map(str, damaged)))


def show(
    run: Invocation,
    bank: BankArgument = "shared",
    plot: PlotOption = None,
    store: StoreOption = None,
    output: OutputOption = "text",
) -> None:
    """Show the newest version of a bank.

    Its cameras are learned from wanted_s seconds of normal video: its own learn_s, or memory.learn_s if it has none.

    Example: engram bank show lobby

    With a picture of what it has counted as normal: engram bank show lobby --plot lobby.png
    """
    settings = run.settings(CoordinatorSettings, {"store.url": store})
    with open_store(settings.store) as banks:
        found = banks.read(bank)
        known = banks.list_banks() if found is None else ()
    if found is None:
        raise FatalError(f"bank '{bank}' must exist, the store has {list(known)}; 'engram coordinate' creates it")
    wanted_s = found.wanted_s(settings.memory.learn_s)
    print_bank(found, output, **({} if found.normality is None else {"wanted_s": wanted_s}))
    if plot is not None:
        from engram.cli.bank_picture import draw_normality  # noqa: PLC0415 - needs an extra

        draw_normality(found, plot)
        if output == "text":
            print(f"drawn: {plot}")


def log(
    run: Invocation,
    bank: BankArgument = "shared",
    newest: NewestOption = 20,
    store: StoreOption = None,
    output: OutputOption = "text",
) -> None:
    """Show the audit log of a bank: who changed it, when, why, and from how many frames of which cameras.

    Example: engram bank log shared -n 50 -o json
    """
    settings = run.settings(CoordinatorSettings, {"store.url": store})
    with open_store(settings.store) as banks:
        entries = banks.log(bank, newest)
        known = banks.list_banks() if not entries else [bank]
    if output == "json":
        print_json_line(entries_json(entries))
    else:
        print_entries(f"log of {bank}", entries)
    if bank not in known:
        print(f"there is no bank '{bank}', the store has {list(known)}", file=sys.stderr)


def create(run: Invocation, bank: BankArgument, bundle: BundleOption = None, store: StoreOption = None) -> None:
    """Make a bank with the items a bundle was trained with, so that cameras may teach it.

    The coordinator makes the bank that memory.bank_id names by itself; every other is made here.

    Example: engram bank create lobby --bundle models/lobby
    """
    from bundles.bundle import load_initial_bank  # noqa: PLC0415 - needs an extra

    settings = run.settings(CoordinatorSettings, {"store.url": store, "worker.bundle": bundle})
    items = load_initial_bank(bundle_folder(settings.worker.bundle))
    initial = InitialBank.of_items(items)
    if initial.is_empty:
        raise FatalError(f"a bank needs a network with a memory, '{items.model}' has none; name another bundle")
    with open_store(settings.store, settings.coordinator.history) as banks:
        if banks.read(bank) is not None:
            raise FatalError(f"to be made a bank must not exist, '{bank}' does; see 'engram bank show {bank}'")
        epoch = next_epoch()
        made = initial.as_bank(bank, epoch, utc_now())
        change = Change("create", settings.coordinator.writer_id, "by an operator", epoch)
        print_bank(banks.create(made, change), "text")
