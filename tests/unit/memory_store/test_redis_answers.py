"""What each of Redis' error answers is, as the client library gives it; no server is needed to read one."""

import pytest
from redis._parsers.base import BaseParser

from memory_store.stores.redis import RedisStore
from memory_store.stores.redis_client import RedisAddress

STORE = RedisStore.for_worker(RedisAddress("redis://127.0.0.1:1/0"))


@pytest.mark.parametrize(
    "answer",
    [
        "BUSY Redis is busy running a script.",
        "MISCONF Redis is configured to save RDB snapshots.",
        "NOREPLICAS Not enough good replicas to write.",
        "LOADING Redis is loading the dataset in memory",
        "CLUSTERDOWN The cluster is down",
        "MASTERDOWN Link with MASTER is down",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "READONLY You can't write against a read only replica.",
        "ERR Error running script (call to f_1): @user_script:6: -READONLY You can't write against a replica.",
        "ERR max number of clients reached",
    ],
)
def test_answers_that_go_away_are_passing(answer: str) -> None:
    verdict = STORE.judge(BaseParser.parse_error(answer), "read")
    assert verdict is not None
    assert (verdict.kind, "127.0.0.1:1 " in verdict.text) == ("passing", True)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("WRONGPASS invalid username-password pair or user is disabled.", "lasting"),
        ("NOAUTH Authentication required.", "lasting"),
        ("MOVED 3999 127.0.0.1:6381", "lasting"),
        ("NOPERM this user has no permissions", "forbidden"),
        ("ERR unknown command 'XADD'", "broken"),
    ],
)
def test_answers_that_last_are_not(answer: str, kind: str) -> None:
    verdict = STORE.judge(BaseParser.parse_error(answer), "read")
    assert verdict is not None
    assert verdict.kind == kind
