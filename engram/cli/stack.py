"""``engram stack``: a real Kafka and Redis on this machine, for trying out and for tests."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from deploy.local import Stack, StackStatus
from engram.build.shipped import WALKWAY
from engram.cli.errors import EXIT_FAULT
from engram.cli.invocation import Invocation, command
from engram.cli.options import MadeBundleOption
from engram.cli.output import OutputOption, print_json_line, print_table
from engram.run.process import stop_on_signals
from schemas.settings import ConsumerSettings

WipeOption = Annotated[bool, typer.Option("--wipe", help="Also delete all topics, banks and logs of the stack.")]

OutOption = Annotated[Path, typer.Option("--out", help="Folder for the logs of the processes.")]
SecondsOption = Annotated[float, typer.Option("--seconds", min=5, help="Scene time of each of the four cameras.")]
DeadlineOption = Annotated[float, typer.Option("--deadline-s", help="Longest wait for the scores.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(no_args_is_help=True, help="A local Kafka and Redis, without containers.")
    command(group, "up")(up)
    command(group, "down")(down)
    command(group, "status")(status)
    command(group, "demo", extra="demo")(demo)
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


def demo(
    run: Invocation,
    out: OutOption = Path("out/stack-demo"),
    seconds: SecondsOption = 30.0,
    deadline_s: DeadlineOption = 180.0,
    bundle: MadeBundleOption = Path(WALKWAY),
    output: OutputOption = "text",
) -> None:
    """Run cameras, workers and a coordinator on a real Kafka and Redis, kill a worker, check that nothing is lost.

    Starts the local stack if it is not up, and leaves it up. Uses topics and keys of its own. Exits with 1 if a check
    fails.

    Example: engram stack demo --seconds 30
    """
    run.settings(ConsumerSettings, {"log.level": run.log_level or "warning"})
    from engram.demo.stack_run import StackDemoRequest, run_stack_demo  # noqa: PLC0415 - needs an extra

    request = StackDemoRequest(bundle, out, seconds, deadline_s, _tell)
    with stop_on_signals() as stop:
        checks = run_stack_demo(request, stop)
    if output == "json":
        print_json_line([{"name": check.name, "ok": check.ok, "detail": check.detail} for check in checks])
    else:
        rows = [("ok" if check.ok else "FAIL", check.name, check.detail) for check in checks]
        print_table("what the topics and the store say", ("", "promise", "seen"), rows)
    if not all(check.ok for check in checks):
        raise typer.Exit(EXIT_FAULT)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


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
