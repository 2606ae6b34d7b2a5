"""``engram console``: the operator's page."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from engram.cli.invocation import Invocation, command
from engram.cli.options import BootstrapOption, HttpOption, PrefixOption, StoreOption, kafka_overrides
from engram.run.process import stop_on_signals
from schemas.errors import FatalError, SettingsError
from schemas.settings import ConsoleSettings

if TYPE_CHECKING:
    from console.access import Grant

ListenOption = Annotated[
    str | None, typer.Option("--listen", help="host:port of the pages; a port alone = this machine only.")
]
TokenFileOption = Annotated[
    Path | None, typer.Option("--token-file", help="Who may come in: a line each, made by --make-token.")
]
MakeTokenOption = Annotated[
    str | None,
    typer.Option(
        "--make-token", metavar="NAME", help="Make a token for NAME, print it once, write it down, and leave."
    ),
]
RoleOption = Annotated[
    Literal["view", "operate"],
    typer.Option("--role", help="With --make-token: view looks, operate also says and changes."),
]
BasePathOption = Annotated[
    str | None, typer.Option("--base-path", help="Path under which a proxy shows the pages, like /engram.")
]
FileOption = Annotated[
    Path | None, typer.Option("--file", help="What keeps what was read; default: console.db in the user's data folder.")
]


MediaOption = Annotated[
    str | None,
    typer.Option("--media", metavar="PLACE", help="Where 'engram clips' keeps videos: the same folder, or s3://…"),
]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "console", extra="console")(console)


def console(
    run: Invocation,
    listen: ListenOption = None,
    token_file: TokenFileOption = None,
    make_token: MakeTokenOption = None,
    role: RoleOption = "operate",
    base_path: BasePathOption = None,
    file: FileOption = None,
    media: MediaOption = None,
    store: StoreOption = None,
    bootstrap_servers: BootstrapOption = None,
    topic_prefix: PrefixOption = None,
    http: HttpOption = None,
) -> None:
    """Show the operator's page: what is unusual now, what is to be reviewed, cameras, memory.

    On this machine alone it makes a token for the run and prints the address to log in with. For others to reach it,
    make tokens first: there is no default password. With --store memories can be compared, frozen and taken back.

    Example: engram console --store redis://localhost:6379/0

    For others: engram console --listen 0.0.0.0:8765 --token-file tokens

    A token for one of them: engram console --make-token ann --role operate --token-file tokens
    """
    overrides = kafka_overrides(bootstrap_servers, topic_prefix) | {
        "store.url": store,
        "console.listen": listen,
        "console.token_file": token_file,
        "console.base_path": base_path,
        "console.file": file,
        "console.media": media,
        "http.listen": http,
    }
    loaded = run.load(ConsoleSettings, overrides)
    if make_token is not None:
        _make_token(make_token, role, loaded.settings.console.token_file)
        return
    from engram.run.console import run_console  # noqa: PLC0415 - needs an extra

    has_store = loaded.origins["store.url"] != "default"
    with stop_on_signals() as stop:
        run_console(loaded.settings, has_store, stop, tell_address)


def tell_address(address: str) -> None:
    """On standard error, as standard output may be somebody's data."""
    print(f"console: {address}", file=sys.stderr, flush=True)


def _make_token(name: str, role: Literal["view", "operate"], path: Path | None) -> None:
    from console.access import new_token  # noqa: PLC0415 - only where it is used

    token, grant = new_token(name, role)
    if path is None:
        print(grant.line())
        print(f"the token of {name}, which is shown this once: {token}", file=sys.stderr)
        return
    _add_line(path, grant)
    print(token)


def _add_line(path: Path, grant: "Grant") -> None:
    """Readable by its owner alone from the first byte on."""
    try:
        with os.fdopen(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "r+", encoding="utf-8") as file:
            if any(line.split()[1:2] == [grant.name] for line in file):
                raise SettingsError(f"'{path}' must not have two tokens of one name, there is one of '{grant.name}'")
            file.write(f"{grant.line()}\n")
    except OSError as error:
        raise FatalError(f"'{path}' must be a file that we may write: {error.strerror}") from error
