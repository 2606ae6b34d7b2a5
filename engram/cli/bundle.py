"""``engram bundle``: what a bundle wants of those who send frames for it."""

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from engram.build.shipped import bundle_named
from engram.cli.invocation import Invocation, command
from engram.cli.output import OutputOption, print_json_line

FLAGS = {
    "producer.fps": "--fps",
    "producer.width": "--width",
    "producer.height": "--height",
    "producer.colours": "--colours",
    "producer.jpeg_quality": "--jpeg-quality",
}
BundleArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DIR|NAME", parser=bundle_named, help="Folder of the bundle, its manifest is enough; or one's name."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(no_args_is_help=True, help="Look into bundles.")
    command(group, "show")(show)
    app.add_typer(group, name="bundle")


def show(run: Invocation, bundle: BundleArgument, output: OutputOption = "text") -> None:  # noqa: ARG001
    """Show how frames must be sent for a bundle: as flags to paste after 'engram produce', and as lines for the file.

    Where the bundle itself is at hand, 'engram produce --bundle DIR' does the same.

    Example: engram bundle show bundles/gate
    """
    from engram.build.cameras import bundle_wishes  # noqa: PLC0415 - OpenCV takes a while to load

    wishes = bundle_wishes(bundle)
    if output == "json":
        print_json_line(wishes)
        return
    print(shlex.join(word for path, value in wishes.items() for word in (FLAGS[path], _plain(value))))
    print("\n[producer]")
    for path, value in wishes.items():
        text = json.dumps(value) if isinstance(value, str) else _plain(value)
        print(f"{path.removeprefix('producer.')} = {text}")


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
