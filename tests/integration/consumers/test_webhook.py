"""Webhooks to a real HTTP server: what arrives, how it is signed, what each answer means."""

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consumers.notify.facts import facts_of
from consumers.notify.notification import NotTakenError, RefusedError, of_event
from consumers.notify.rules import WebhookTarget, signing_key
from consumers.notify.webhook import MAX_RETRY_AFTER_S, Webhook, signature
from deploy.local.ports import free_port
from deploy.local.wait import wait_until
from tests.architecture.repository import ROOT
from tests.http_receiver import Receiver, receiver
from tests.unit.consumers.notify.facts import facts, record_of
from tests.unit.consumers.samples import event

NOW = 1_772_352_000.7
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TOLD = of_event(facts(), "event")


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def hook(url: str, **more: Any) -> Webhook:
    return Webhook(WebhookTarget.model_validate({"url": url, "timeout": "20s", **more}), now=lambda: NOW)


def test_an_event_arrives_whole_and_signed(there: Receiver) -> None:
    hook(there.url, secret=SECRET, headers={"Authorization": "Bearer abc"}).tell(TOLD)
    (request,) = there.requests
    assert request.path == "/hooks/secret-token?room=1"
    assert request.body == TOLD.body
    assert request.headers["content-type"] == "application/cloudevents+json"
    assert request.headers["authorization"] == "Bearer abc"
    assert request.headers["webhook-id"] == TOLD.id
    assert "." not in TOLD.id, "it divides what is signed"
    assert request.headers["webhook-timestamp"] == "1772352000"
    expected = signature(signing_key(SECRET), TOLD.id, "1772352000", request.body)
    assert request.headers["webhook-signature"] == expected


def test_who_is_told_of_an_event_with_a_trace_can_go_on_with_it(there: Receiver) -> None:
    traceparent = f"00-{'a' * 32}-{'b' * 16}-01"
    message = event(5, 9).model_copy(update={"traceparent": traceparent, "tracestate": "rojo=1"})
    hook(there.url).tell(of_event(facts_of(message, record_of(message)), "event"))
    hook(there.url).tell(TOLD)
    first, second = there.requests
    assert first.headers["traceparent"] == json.loads(first.body)["traceparent"] == traceparent
    assert first.headers["tracestate"] == json.loads(first.body)["tracestate"] == "rojo=1"
    assert {"traceparent", "tracestate"}.isdisjoint(second.headers)


def test_signatures_are_those_of_standard_webhooks() -> None:
    """The example of its own libraries."""
    message_id, body = "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}'
    given = signature(signing_key(SECRET), message_id, "1614265330", body)
    assert given == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signing_key("plain text") == b"plain text"


def test_chats_get_a_line_of_text_and_nothing_is_signed_without_a_secret(there: Receiver) -> None:
    hook(there.url, format="text").tell(TOLD)
    (request,) = there.requests
    assert json.loads(request.body) == {"text": "gate: something unusual since 2026-03-01 08:00:00 UTC (score 0.97)"}
    assert "webhook-signature" not in request.headers


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_what_is_taken(there: Receiver, status: int) -> None:
    there.status = status
    hook(there.url).tell(TOLD)
    assert len(there.requests) == 1


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_what_is_never_taken(there: Receiver, status: int) -> None:
    there.status = status
    with pytest.raises(RefusedError, match=f"answered {status}"):
        hook(there.url).tell(TOLD)


@pytest.mark.parametrize("status", [301, 401, 403, 404, 408, 410, 429, 500, 502, 503])
def test_what_is_tried_again(there: Receiver, status: int) -> None:
    there.status = status
    there.headers = {"Location": "http://127.0.0.1:1/"}
    with pytest.raises(NotTakenError, match=f"answered {status}") as caught:
        hook(there.url).tell(TOLD)
    assert "secret-token" not in str(caught.value)
    assert len(there.requests) == 1, "no redirection is followed"


@pytest.mark.parametrize(
    ("given", "expected"), [("7", 7.0), ("99999999", 0.0), ("9999", MAX_RETRY_AFTER_S), ("soon", 0.0)]
)
def test_a_target_may_say_when_to_try_again(there: Receiver, given: str, expected: float) -> None:
    there.status, there.headers = 503, {"Retry-After": given}
    with pytest.raises(NotTakenError) as caught:
        hook(there.url).tell(TOLD)
    assert caught.value.retry_after_s == expected


@pytest.mark.parametrize("mode", ["hang", "drip"])
def test_one_that_hangs_is_given_up_on_in_time(there: Receiver, mode: str) -> None:
    there.mode = mode
    with pytest.raises(NotTakenError, match="no answer in time"):
        hook(there.url, timeout="0.5s").tell(TOLD)


def test_one_that_is_away_is_told_as_such() -> None:
    with pytest.raises(NotTakenError, match=r"http://127\.0\.0\.1 did not take it: ConnectionRefusedError"):
        hook(f"http://127.0.0.1:{free_port()}/secret-token").tell(TOLD)


def test_one_that_speaks_no_http_is_tried_again(there: Receiver, tmp_path: Path) -> None:
    with pytest.raises(NotTakenError, match="did not take it"):
        hook(there.url.replace("http:", "https:")).tell(TOLD)
    assert there.requests == []


def test_closing_cuts_a_call_that_waits(there: Receiver) -> None:
    there.mode = "hang"
    target, errors = hook(there.url, timeout="5m"), list[Exception]()

    def tell() -> None:
        try:
            target.tell(TOLD)
        except NotTakenError as error:
            errors.append(error)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    there.wait_for(1)
    assert wait_until(lambda: target._open is not None and target._open.sock is not None, 30)
    target.close()
    thread.join(30)
    assert len(errors) == 1
    with pytest.raises(NotTakenError, match="we are stopping"):
        target.tell(TOLD)


def test_the_check_that_the_documentation_gives_is_right(there: Receiver) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "consumers.md").read_text(), re.DOTALL)
    scope: dict[str, Any] = {}
    exec(code, scope)
    hook(there.url, secret="abc").tell(TOLD)
    (request,) = there.requests
    assert scope["is_genuine"](b"abc", request.headers, request.body)
    assert not scope["is_genuine"](b"abd", request.headers, request.body)
    assert not scope["is_genuine"](b"abc", request.headers, request.body + b" ")
