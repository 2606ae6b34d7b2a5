"""``engram stack``: a real Kafka and Redis on this machine, for trying out and for tests."""

from typing import Annotated

import typer

from deploy.local import Stack, StackStatus
from engram.cli.errors import EXIT_FAULT
from engram.cli.invocation import Invocation, command
from engram.cli.output import OutputOption, print_json_line
from schemas.settings import ConsumerSettings

WipeOption = Annotated[bool, typer.Option("--wipe", help="Also delete all topics, banks and logs of the stack.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(no_args_is_help=True, help="A local Kafka and Redis, without containers.")
    command(group, "up")(up)
    command(group, "down")(down)
    command(group, "status")(status)
    app.add_typer(group, name="stack")


def up(run: Invocation, output: OutputOption = "text") -> None:
    """Start Kafka and Redis and wait until both serve; they outlive this command.

    Needs Java 17 and redis-server; Kafka itself is downloaded once. The addresses are printed as settings.

    Example: engram stack up
    """
    run.settings(ConsumerSettings)
    _show(Stack().up(), output)


def down(run: Invocation, wipe: WipeOption = False, output: OutputOption = "text") -> None:
    """End both in good order; their data stays unless --wipe is given.

    Example: engram stack down
    """
    run.settings(ConsumerSettings)
    stack = Stack()
    _show(stack.wipe() if wipe else stack.down(), output)


def status(run: Invocation, output: OutputOption = "text") -> None:
    """Say whether both serve, where, and where their logs are; exits with 1 if not.

    Example: engram stack status
    """
    run.settings(ConsumerSettings)
    found = Stack().status()
    _show(found, output)
    if not found.is_ready:
        raise typer.Exit(EXIT_FAULT)


def _show(found: StackStatus, output: str) -> None:
    if output == "text":
        print(found)
        return
    servers = {
        server.name: {
            "address": server.address,
            "pid": server.pid,
            "is_ready": server.is_ready,
            "log": str(server.log_path),
        }
        for server in (found.kafka, found.redis)
    }
    print_json_line({"is_ready": found.is_ready, "folder": str(found.folder), "servers": servers})
