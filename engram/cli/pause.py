"""``engram pause``: do not watch a camera for a while."""

import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from consumers.durations import duration
from engram.cli.invocation import Invocation, command
from schemas.errors import FatalError, SettingsError
from schemas.messages import utc_now
from schemas.settings import AllSettings
from schemas.settings.editing import with_camera_key

KEY = "paused_until"

CameraArgument = Annotated[str, typer.Argument(metavar="CAMERA", help="Name of its table, [cameras.NAME].")]
ForOption = Annotated[str, typer.Option("--for", help="How long, as in 30m, 2h, 1d.")]
OverOption = Annotated[bool, typer.Option("--over", help="Watch it again now.")]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    command(app, "pause")(pause)


def pause(run: Invocation, camera: CameraArgument, for_: ForOption = "1h", over: OverOption = False) -> None:
    """Pause a camera: it is not even connected to. Writes paused_until into its table of the settings file.

    Whoever runs with that file notices within a second or so and goes by it. The rest of the file stays as it is.

    Example: engram pause gate --for 2h --config site.toml
    """
    if run.config is None:
        raise SettingsError("a pause is written into a settings file: name it with --config FILE")
    run.settings(AllSettings)  # a file that is broken is not touched
    try:
        until = None if over else (utc_now() + duration(for_)).replace(microsecond=0)
    except ValueError as error:
        raise SettingsError(f"--for {error}") from None
    _change(run.config, camera, until)
    print(
        f"camera {camera} is watched again" if until is None else f"camera {camera} is paused until {until:%F %T} UTC"
    )


def _change(file: Path, camera: str, until: datetime | None) -> None:
    """Whole or not at all, since others read it meanwhile."""
    path = file.resolve()
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        text = with_camera_key(path.read_text("utf-8"), camera, KEY, until)
        beside.touch(mode=0o600)  # it may hold what not everybody may read
        beside.write_text(text, "utf-8")
        shutil.copymode(path, beside)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise FatalError(f"'{file}' must be a file that we may write: {error.strerror}") from error
