"""``engram bank acls``: what each role may do in Redis, as commands for it."""

from typing import Annotated

import typer

from engram.cli.invocation import Invocation
from schemas.settings import CoordinatorSettings


def acls(
    run: Invocation,
    key_prefix: Annotated[str | None, typer.Option("--key-prefix", help="Put before every key of the store.")] = None,
) -> None:
    """Print ACL commands for Redis: workers read banks and nothing else, coordinators and operators write them too.

    PASSWORD stands for one of your own; the rest goes into redis-cli as it is. Changes nothing and needs no Redis.

    Example: engram bank acls --key-prefix site-a
    """
    from memory_store.stores.redis import reader_acl, writer_acl  # noqa: PLC0415 - needs an extra

    prefix = run.settings(CoordinatorSettings, {"store.key_prefix": key_prefix}).store.key_prefix
    for role, rules in (("worker", reader_acl(prefix)), ("coordinator", writer_acl(prefix))):
        print(f"ACL SETUSER engram-{role} reset on >PASSWORD {rules}")
