"""Tokens, sessions, and how often a wrong token may be tried."""

import pytest

from console.access import (
    IDLE_S,
    LONGEST_S,
    MAX_FAILURES,
    MAX_SESSIONS,
    WINDOW_S,
    Access,
    is_csrf,
    new_token,
    read_grants,
)
from schemas.errors import SettingsError


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_token_gives_its_name_and_role_and_what_is_kept_is_not_the_token() -> None:
    token, grant = new_token("ann@edge", "view")
    (read,) = read_grants(f"# who may look\n\n{grant.line()}\n", "tokens")
    assert read == grant
    assert token not in grant.line()
    access = Access([new_token("bob", "operate")[1], grant])
    assert access.grant_of(token, "a") == grant
    assert not grant.may_operate
    assert access.grant_of(token + "x", "a") is None
    assert access.grant_of("", "a") is None
    assert access.grant_of("x" * 100_000, "a") is None


def test_two_tokens_are_never_the_same() -> None:
    assert new_token("ann", "view")[0] != new_token("ann", "view")[0]


def test_lines_may_be_divided_by_semicolons() -> None:
    lines = [new_token(name, "view")[1] for name in ("a", "b")]
    assert read_grants("; ".join(grant.line() for grant in lines), "env") == tuple(lines)


@pytest.mark.parametrize("line", ["ann secret", "admin ann sha256:" + "0" * 64, "view a b", "view ann sha256:00"])
def test_a_line_that_is_none_is_refused_without_being_shown(line: str) -> None:
    with pytest.raises(SettingsError, match="line 1 must be ROLE NAME") as told:
        read_grants(line, "tokens")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "<b>", "a\nb"])
def test_a_name_must_be_fit_to_sign_with(name: str) -> None:
    with pytest.raises(SettingsError, match="a name must be"):
        new_token(name, "view")


def test_a_thousand_guesses_get_ten_answers_and_others_are_not_shut_out() -> None:
    clock = Clock()
    access = Access([new_token("ann", "view")[1]], clock)
    looked_at = 0
    for guess in range(1000):
        clock.now_s += 0.001
        if access.must_wait_s("10.0.0.9") == 0:
            looked_at += 1
            assert access.grant_of(f"guess{guess}", "10.0.0.9") is None
    assert looked_at == MAX_FAILURES
    assert 0 < access.must_wait_s("10.0.0.9") <= WINDOW_S
    assert access.must_wait_s("10.0.0.10") == 0
    clock.now_s += WINDOW_S
    assert access.must_wait_s("10.0.0.9") == 0


def test_sessions_end_when_idle_and_when_old() -> None:
    clock = Clock()
    access = Access([], clock)
    _, grant = new_token("ann", "operate")
    secret = access.begin(grant)
    session = access.session(secret)
    assert session is not None
    assert session.grant == grant
    clock.now_s += IDLE_S + 1
    assert access.session(secret) is None
    secret = access.begin(grant)
    began_s = clock.now_s
    while clock.now_s - began_s < LONGEST_S:
        assert access.session(secret) is not None
        clock.now_s += IDLE_S / 2
    clock.now_s += 1
    assert access.session(secret) is None


def test_a_session_can_be_ended_and_their_number_is_bounded() -> None:
    access = Access([])
    _, grant = new_token("ann", "operate")
    first, second = access.begin(grant), access.begin(grant)
    access.end(second)
    assert access.session(second) is None
    for _ in range(MAX_SESSIONS):
        access.begin(grant)
    assert access.session(first) is None


def test_only_the_session_s_own_mark_is_believed() -> None:
    access = Access([])
    session = access.session(access.begin(new_token("ann", "operate")[1]))
    assert session is not None
    assert is_csrf(session, (None, session.csrf))
    assert not is_csrf(session, (None, "", "x", "ü"))
