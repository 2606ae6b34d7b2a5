"""Addresses are read or refused, and no password in them is ever shown."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.addresses import (
    MASK,
    SentinelAddress,
    host_ports,
    listen_address,
    sentinel_address,
    shown_host_port,
    without_secrets,
)


def test_addresses_of_all_kinds() -> None:
    assert host_ports("a:1, b.c:2,[::1]:3") == (("a", 1), ("b.c", 2), ("::1", 3))


@pytest.mark.parametrize(
    "text",
    [
        *("kafka", "kafka:", ":9092", "kafka:http", "kafka:0", "kafka:70000", "a:1,b", "a:1,", ""),
        *("kafka://kafka:9092", "PLAINTEXT://kafka:9092", "a:1/x", "::1:9092", "me@a:1", "a b:1", "a:\u0661"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be host:port"):
        host_ports(text)


@given(st.text(max_size=30))
def test_any_text_is_addresses_that_can_be_written_again_or_an_error(text: str) -> None:
    try:
        found = host_ports(text)
    except ValueError:
        return
    assert host_ports(",".join(map(shown_host_port, found))) == found


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://me:hunter2@h:1/0", f"redis://me:{MASK}@h:1/0"),
        ("redis://:hunter2@h:1/0", f"redis://:{MASK}@h:1/0"),
        ("redis://hunter2@h:1/0", f"redis://{MASK}@h:1/0"),
        ("redis://me:hun@ter2@h", f"redis://me:{MASK}@h"),
        ("redis://me:hun/ter2@h", f"redis://me:{MASK}@h"),
        ("redis:/me:hunter2@h", f"redis:/me:{MASK}@h"),
        ("redis//me:hunter2@h", f"{MASK}@h"),
        ("me:hunter2@h", f"{MASK}@h"),
        ("hunter2@h", f"{MASK}@h"),
        ("redis://h?password=hunter2&db=1", f"redis://h?password={MASK}&db=1"),
        ("redis://h/0?db=1&PassWd=hunter2", f"redis://h/0?db=1&PassWd={MASK}"),
        ("http://h/x?access_token=hunter2", f"http://h/x?access_token={MASK}"),
        ("redis://me:hunter2host:6379/0", f"redis://me:{MASK}/0"),
        ("redis://me:hunter2", f"redis://me:{MASK}"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("sqlite:////data/banks.db", "sqlite:////data/banks.db"),
        ("a:1,b:2", "a:1,b:2"),
        ("/dev/video0", "/dev/video0"),
        ("", ""),
    ],
)
def test_passwords_are_stars_however_the_url_was_mistyped(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@given(
    st.sampled_from(["redis://", "redis:/", "redis//", "redis;//", "redi s://", "://", ""]),
    st.sampled_from(["me:", ":", ""]),
    st.text(st.characters(codec="utf-8", exclude_characters=":"), max_size=8),
)
def test_no_typo_lays_a_password_open(scheme: str, user: str, more: str) -> None:
    """What stands before the first colon of a well-formed URL is its user, so no colon is added to the password."""
    assert "hunter2" not in without_secrets(f"{scheme}{user}hunter2{more}@host:6379/0")


@pytest.mark.parametrize(("address", "shown"), [(("kafka", 9092), "kafka:9092"), (("::1", 1), "[::1]:1")])
def test_an_address_is_shown_as_it_is_written(address: tuple[str, int], shown: str) -> None:
    assert shown_host_port(address) == shown
    assert host_ports(shown) == (address,)


@given(st.from_regex(r"[a-z0-9.-]{1,20}|[0-9a-f]{1,4}(:[0-9a-f]{1,4}){1,7}", fullmatch=True), st.integers(1, 65535))
@settings(max_examples=40, deadline=None)
def test_any_host_and_port_can_be_shown_and_read_again(host: str, port: int) -> None:
    assert host_ports(shown_host_port((host, port))) == ((host, port),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kafka:65536", "with a port from 1 to 65535, got 'kafka:65536'"),
        ("kafka:0", "with a port from 1 to 65535, got 'kafka:0'"),
        ("kafka:000001", "with a port from 1 to 65535"),
        ("kafka:-1", "with a port from 1 to 65535"),
        ("a/b:1", "without scheme, user or path"),
        ("me:hunter2@a:1", f"without scheme, user or path, got '{MASK}@a:1'"),
        ("9092", "must be host:port, got '9092'; Kafka's usual port is 9092"),
        ("[]:1", "usual port"),
        ("a\tb:1", "usual port"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="must be host:port") as refused:
        host_ports(text)
    assert said in str(refused.value)


@pytest.mark.parametrize("port", [1, 65535])
def test_the_first_and_the_last_port_are_ports(port: int) -> None:
    assert host_ports(f"a:{port}") == (("a", port),)


@pytest.mark.parametrize("name", ["password", "PASS", "sslpwd", "authToken", "client_secret", "api-key"])
@pytest.mark.parametrize("lead", ["?", "&", ";"])
def test_every_telling_parameter_is_stars_and_its_neighbours_are_not(name: str, lead: str) -> None:
    assert without_secrets(f"h/x{lead}a=1&{name}=hunter2&z=2") == f"h/x{lead}a=1&{name}={MASK}&z=2"
    assert without_secrets(f"h/x{lead}{name}=hunter2#end") == f"h/x{lead}{name}={MASK}#end"
    assert without_secrets(f"h/x{lead}turn=left&{name}=") == f"h/x{lead}turn=left&{name}={MASK}"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9100", ("127.0.0.1", 9100)),
        (":9100", ("127.0.0.1", 9100)),
        (" 9100 ", ("127.0.0.1", 9100)),
        ("0", ("127.0.0.1", 0)),
        ("0.0.0.0:9100", ("0.0.0.0", 9100)),
        ("[::1]:9100", ("::1", 9100)),
        ("gate.example:80", ("gate.example", 80)),
    ],
)
def test_where_to_listen(text: str, address: tuple[str, int]) -> None:
    assert listen_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "65536", "-1", "host", "host:", "::1:9100", "http://host:1", "a:b", "9100/metrics"]
)
def test_where_nobody_can_listen(text: str) -> None:
    with pytest.raises(ValueError, match="must be host:port") as refused:
        listen_address(text)
    assert "Kafka" not in str(refused.value)


def test_sentinels_are_read_with_what_goes_without_saying() -> None:
    found = sentinel_address("redis+sentinel://a,b:1,[::1]:2/banks")
    assert found == SentinelAddress((("a", 26379), ("b", 1), ("::1", 2)), "banks", 0, is_tls=False)
    tls = sentinel_address("rediss+sentinel://a/banks/3")
    assert tls == SentinelAddress((("a", 26379),), "banks", 3, is_tls=True)
    assert sentinel_address("redis://a/0") is None


@pytest.mark.parametrize("rest", ["", "a", "a/", "/banks", "u:p@a/banks", "a/banks/0?x=1", "a/banks/x", "a:0/banks"])
def test_other_addresses_of_sentinels_are_refused_without_being_shown(rest: str) -> None:
    with pytest.raises(ValueError, match="must be") as refused:
        sentinel_address(f"redis+sentinel://{rest}")
    assert "u:p" not in str(refused.value)
