"""An MQTT broker: everything at QoS 1, and durable there when ``tell`` returns. A broker that is gone is waited for."""

import logging
import secrets
import ssl
import threading
from typing import Any

from paho.mqtt.client import MQTT_ERR_SUCCESS, Client, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

from consumers.notify.discovery import OFFLINE, ONLINE, Retained, camera_topic, discovery, states, status_topic
from consumers.notify.notification import Notification, NotTakenError
from consumers.notify.rules import MqttTarget
from schemas.errors import FatalError

log = logging.getLogger(__name__)

WAIT_S = 10.0
"""Longest wait for the broker's word on one message."""
LAST_WORD_S = 1.0
FIRST_RECONNECT_S, LAST_RECONNECT_S = 1, 30
MAX_CAMERAS = 4096
"""Whose states are said again to a broker that may have lost them."""
_QOS = 1


class Mqtt:
    """See ``Target``; connects in the background, again and again.

    Args:
        name: of the target, for the log and the client's id.
        settings: where, and how.

    Raises:
        FatalError: a certificate file that cannot be read.
    """

    shows_state = True

    def __init__(self, name: str, settings: MqttTarget) -> None:
        self._name = name
        self._settings = settings
        self._base = settings.base_topic
        self._lock = threading.Lock()
        self._retained: dict[str, dict[str, str]] = {}
        self._connected = threading.Event()
        self._closed = threading.Event()
        self._client = self._made()
        self._client.connect_async(settings.host, settings.port, keepalive=30)
        self._client.loop_start()

    def tell(self, notification: Notification) -> None:
        """See ``Target``. The sensor's state goes first, so that what a house does about an event can look at it."""
        facts = notification.facts
        self._keep(facts.camera_id, [*self._announcement(facts.camera_id), *states(self._base, facts)])
        if notification.kind != "state":
            topic = camera_topic(self._base, facts.camera_id, notification.kind)
            self._publish(topic, notification.body, retain=False)

    def close(self) -> None:
        """See ``Target``. Says that we are gone, if the broker can be reached."""
        self._closed.set()
        if self._connected.is_set():
            sent = self._client.publish(status_topic(self._base), OFFLINE, _QOS, retain=True)
            if sent.rc == MQTT_ERR_SUCCESS:
                sent.wait_for_publish(LAST_WORD_S)
        self._client.disconnect()
        self._client.loop_stop()

    def _announcement(self, camera_id: str) -> list[Retained]:
        prefix = self._settings.discovery_prefix
        return [] if prefix is None else [discovery(prefix, self._base, camera_id)]

    def _keep(self, camera_id: str, wanted: list[Retained]) -> None:
        """Publish what has changed of a camera's retained messages."""
        known = self._retained.get(camera_id, {})
        for one in wanted:
            if known.get(one.topic) != one.payload:
                self._publish(one.topic, one.payload, retain=True)
                with self._lock:
                    known = self._retained.setdefault(camera_id, {})
                    known[one.topic] = one.payload
                    if len(self._retained) > MAX_CAMERAS:
                        del self._retained[next(iter(self._retained))]

    def _publish(self, topic: str, payload: str | bytes, retain: bool) -> None:
        if not self._connected.wait(WAIT_S) or self._closed.is_set():
            raise NotTakenError(f"{self._place} is away")
        sent = self._client.publish(topic, payload, _QOS, retain)
        if sent.rc != MQTT_ERR_SUCCESS:
            raise NotTakenError(f"{self._place} is away")
        sent.wait_for_publish(WAIT_S)
        if not sent.is_published():
            raise NotTakenError(f"{self._place} did not confirm a message within {WAIT_S:.0f} s")

    def _made(self) -> Client:
        settings = self._settings
        client_id = settings.client_id or f"engram-{self._name}-{secrets.token_hex(4)}"
        client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTv311, clean_session=True)
        if settings.username is not None:
            password = None if settings.password is None else settings.password.get_secret_value()
            client.username_pw_set(settings.username.get_secret_value(), password)
        if settings.tls:
            client.tls_set_context(_trusting(settings))
        client.will_set(status_topic(self._base), OFFLINE, _QOS, retain=True)
        client.reconnect_delay_set(FIRST_RECONNECT_S, LAST_RECONNECT_S)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        return client

    def _on_connect(self, client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        """On the client's thread, where a message can be handed over but not waited for."""
        if reason.is_failure:
            log.warning("%s refused us: %s", self._place, reason)
            return
        log.info("%s is there", self._place)
        client.publish(status_topic(self._base), ONLINE, _QOS, retain=True)
        with self._lock:  # a broker without persistence has lost them
            kept = [pair for camera in self._retained.values() for pair in camera.items()]
        for topic, payload in kept:
            client.publish(topic, payload, _QOS, retain=True)
        self._connected.set()

    def _on_disconnect(self, _client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if self._connected.is_set() and not self._closed.is_set():
            log.warning("%s is away, it is waited for: %s", self._place, reason)
        self._connected.clear()

    @property
    def _place(self) -> str:
        return f"the MQTT broker {self._settings.host}:{self._settings.port}"


def _trusting(settings: MqttTarget) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise FatalError(f"ca_file must hold certificates, '{settings.ca_file}' does not: {error}") from error
