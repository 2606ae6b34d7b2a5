"""``engram topics acls``: the rights of each role, as commands for the broker."""

from dataclasses import asdict
from typing import Annotated

import typer

from engram.build.rights import ROLES, Role, acl_commands, rights_of
from engram.cli.invocation import Invocation
from engram.cli.options import BootstrapOption, PrefixOption, kafka_overrides
from engram.cli.output import OutputOption, print_json_line
from schemas.settings import AllSettings


def acls(
    run: Invocation,
    role: Annotated[Role | None, typer.Option("--role", help="Of this role only.")] = None,
    user: Annotated[
        str | None, typer.Option("--user", help="Its user at the broker. Default: engram- and the role.")
    ] = None,
    bootstrap_servers: BootstrapOption = None,
    topic_prefix: PrefixOption = None,
    output: OutputOption = "text",
) -> None:
    """Print what each role may do on the broker and no more, as kafka-acls.sh commands to paste. Changes nothing.

    The broker needs an authorizer (authorizer.class.name) for them to mean anything. Needs no broker itself.

    Example: engram topics acls --role edge --user gate-box --topic-prefix site-a.
    """
    if user is not None and role is None:
        raise typer.BadParameter("a user is of one role, name it with --role", param_hint="--user")
    kafka = run.settings(AllSettings, kafka_overrides(bootstrap_servers, topic_prefix)).kafka
    roles = ROLES if role is None else (role,)
    if output == "json":
        print_json_line({one: [asdict(right) for right in rights_of(one, kafka)] for one in roles})
        return
    for one in roles:
        print(f"# {one}")
        for line in acl_commands(rights_of(one, kafka), user or f"engram-{one}", kafka.bootstrap_servers):
            print(line)
