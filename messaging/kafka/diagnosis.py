"""Why no broker lets us in: the name, the port, TLS, a certificate, the mechanism, the password, or what it advertises.

The client reports all of these as one time-out, ten seconds late, with the cause in its log at best. So a probe walks
the same way step by step, over sockets of its own with the client's own messages, and says at which step it ended, at
which address, and what to do. It asks nothing that needs a right and changes nothing.
"""

import logging
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from kafka import errors as kafka_errors
from kafka.net.sasl import get_sasl_mechanism
from kafka.protocol.broker_version_data import BrokerVersionData
from kafka.protocol.metadata import ApiVersionsRequest, MetadataRequest
from kafka.protocol.parser import KafkaProtocol
from kafka.protocol.sasl import SaslAuthenticateRequest, SaslHandshakeRequest

from messaging.kafka.connection import KafkaConnection
from messaging.kafka.errors import translate
from schemas.addresses import HostPort, host_ports, shown_host_port
from schemas.errors import EngramError, FatalError, MisdirectedError, TransientError

_log = logging.getLogger(__name__)

_STEP_S = 3.0
"""Longest wait for one answer of one address."""
_AFTERTHOUGHT_S = 1.0
"""The same where it is only asked who else listens there."""
_CHUNK_BYTES = 1 << 16
_LONGEST_ANSWER_BYTES = 10 << 20
_PLAIN_OF = {"SSL": "PLAINTEXT", "SASL_SSL": "SASL_PLAINTEXT", "PLAINTEXT": "SSL", "SASL_PLAINTEXT": "SASL_SSL"}
"""The protocol with TLS for the one without, and the other way round."""

Verdict = Literal["settings", "address", "away"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Where the way to a broker ends.

    Attributes:
        verdict: ``settings``: nothing heals it but another setting; ``address``: the name or what the broker
            advertises leads nowhere, which heals if a name is registered late and else does not; ``away``: waits for
            the broker to come back.
        detail: what was seen, with the address that was tried.
        remedy: what to do.
    """

    verdict: Verdict
    detail: str
    remedy: str

    def as_error(self, doing: str) -> EngramError:
        """The error of a process that starts."""
        text = f"{doing}: {self.detail}; {self.remedy}"
        if self.verdict == "settings":
            return FatalError(text)
        return MisdirectedError(text) if self.verdict == "address" else TransientError(text)


@dataclass(frozen=True, slots=True)
class Contact:
    """A broker that lets us in.

    Attributes:
        address: ``host:port`` of the one that was asked.
        advertised: what clients are told to use, the first that answers before all others.
    """

    address: str
    advertised: tuple[str, ...] = ()


class _EndedError(Exception):
    """The way ends here."""

    def __init__(self, verdict: Verdict, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.fault = Fault(verdict, detail, remedy)


class _ClosedError(Exception):
    """The other side ended the connection without a word that we know."""


@contextmanager
def reaching(connection: KafkaConnection, doing: str) -> Iterator[None]:
    """For the making of a client: what stands in its way is raised with its cause, within seconds.

    Until the first client of ``connection`` is let in, a refusal is a mistake in the settings. Later it is passing: a
    password that is being changed, a certificate that is being renewed.

    Raises:
        FatalError: nothing heals it but another setting.
        MisdirectedError: the address leads nowhere.
        TransientError: the broker is away.
    """
    if not connection.admitted.is_set():
        found = probe(connection)
        if isinstance(found, Fault):
            raise found.as_error(doing)
        connection.admitted.set()
    try:
        yield
    except (kafka_errors.KafkaError, OSError) as error:
        found = probe(connection)
        if isinstance(found, Fault):
            raise TransientError(f"{doing}: {found.detail}; it was well before, so it is tried again") from error
        raise translate(error, doing) from error


def probe(connection: KafkaConnection) -> Contact | Fault:
    """The first bootstrap address that lets us in and leads to a broker; else the most telling fault."""
    try:
        addresses = host_ports(connection.bootstrap_servers)
    except ValueError as error:
        return Fault("settings", f"a bootstrap server {error}", "set kafka.bootstrap_servers")
    faults = []
    for address in addresses:
        try:
            return _walk(connection, address)
        except _EndedError as ended:
            faults.append(ended.fault)
        except Exception as error:  # the probe is no judge of what it does not know: the client will say
            _log.debug("the probe of %s went wrong", shown_host_port(address), exc_info=error)
            return Contact(shown_host_port(address))
    ranks: Sequence[Verdict] = ("settings", "address", "away")
    worst = min(faults, key=lambda fault: ranks.index(fault.verdict))
    others = [fault.detail for fault in faults if fault is not worst]
    return Fault(worst.verdict, "; ".join([worst.detail, *others]), worst.remedy)


def _walk(connection: KafkaConnection, address: HostPort) -> Contact:
    """From a bootstrap address to a broker it advertises."""
    advertised = _advertised_by(connection, address)
    if not advertised or address in advertised:
        others = tuple(shown_host_port(other) for other in advertised if other != address)
        return Contact(shown_host_port(address), (shown_host_port(address), *others))
    faults = []
    for broker in advertised:
        try:
            _advertised_by(connection, broker)
        except _EndedError as ended:
            faults.append(ended.fault)
        else:
            others = tuple(shown_host_port(other) for other in advertised if other != broker)
            return Contact(shown_host_port(address), (shown_host_port(broker), *others))
    told = ", ".join(shown_host_port(broker) for broker in advertised)
    verdict: Verdict = "settings" if faults[0].verdict == "settings" else "address"
    raise _EndedError(
        verdict,
        f"Kafka at {shown_host_port(address)} answers and tells clients to use {told}, but there {faults[0].detail}",
        "set advertised.listeners of the broker to an address that this machine reaches, or use its other listener",
    )


def _advertised_by(connection: KafkaConnection, address: HostPort) -> tuple[HostPort, ...]:
    """The brokers that the one at ``address`` names, all steps on the way taken."""
    with _dialled(connection, address) as dialogue:
        versions = _first_answer(connection, address, dialogue)
        if connection.security_protocol.startswith("SASL"):
            _authenticate(connection, address, dialogue)
        request = MetadataRequest(topics=[], allow_auto_topic_creation=False)
        try:
            metadata = dialogue.ask(request, versions.api_version(request))
        except _ClosedError:
            raise _why_closed(connection, address) from None
    return tuple((broker.host, broker.port) for broker in metadata.brokers)


def _first_answer(connection: KafkaConnection, address: HostPort, dialogue: "_Dialogue") -> BrokerVersionData:
    try:
        answer = dialogue.ask(ApiVersionsRequest(), 0)
    except _ClosedError:
        raise _why_silent(connection, address) from None
    except ssl.SSLError as error:
        raise _tls_fault(connection, address, error) from error
    return BrokerVersionData(api_versions={key.api_key: (key.min_version, key.max_version) for key in answer.api_keys})


def _authenticate(connection: KafkaConnection, address: HostPort, dialogue: "_Dialogue") -> None:
    handshake = dialogue.ask(SaslHandshakeRequest(mechanism=connection.sasl_mechanism), 1)
    at = shown_host_port(address)
    refused = kafka_errors.for_code(handshake.error_code)
    if refused is kafka_errors.IllegalSaslStateError:
        text = f"the port at {at} takes no SASL, kafka.security_protocol is {connection.security_protocol}"
        raise _EndedError("settings", text, f"set it to {connection.security_protocol.removeprefix('SASL_')}")
    if connection.sasl_mechanism not in handshake.mechanisms:
        text = f"the broker at {at} does not offer the mechanism {connection.sasl_mechanism}"
        offered = ", ".join(sorted(handshake.mechanisms)) or "one that it offers"
        raise _EndedError("settings", text, f"set kafka.sasl_mechanism to {offered}")
    mechanism = get_sasl_mechanism(connection.sasl_mechanism)(
        host=address[0], **{**connection.client_settings(), "security_protocol": ""}
    )
    denied = _denied(connection, at)
    while not mechanism.is_done():
        try:
            answer = dialogue.ask(SaslAuthenticateRequest(mechanism.auth_bytes()), 1)
            if answer.error_code != 0:
                raise denied
            mechanism.receive(answer.auth_bytes)
        except (_ClosedError, kafka_errors.KafkaError, ValueError) as error:
            raise denied from error
    if not mechanism.is_authenticated():
        raise denied


def _denied(connection: KafkaConnection, at: str) -> _EndedError:
    if connection.sasl_mechanism == "OAUTHBEARER":
        text = f"the broker at {at} refuses the token of kafka.credentials_file with OAUTHBEARER"
        return _EndedError("settings", text, "have another issued for this broker, and see that it has not run out")
    text = f"the broker at {at} refuses user '{connection.username}' with {connection.sasl_mechanism}"
    password = "kafka.password" if connection.credentials is None else "kafka.credentials_file"
    remedy = f"check kafka.username and {password}, and that the broker knows this user for this mechanism"
    return _EndedError("settings", text, remedy)


def _why_silent(connection: KafkaConnection, address: HostPort) -> _EndedError:
    """Why the first question had no answer of Kafka's."""
    at, protocol = shown_host_port(address), connection.security_protocol
    if "SSL" not in protocol and _speaks_tls(address):
        text = f"the port at {at} speaks TLS, kafka.security_protocol is {protocol}"
        return _EndedError("settings", text, f"set it to {_PLAIN_OF[protocol]}, or use the plain port")
    foreign = _foreign_words(address)
    if "SSL" not in protocol and foreign:
        text = f"at {at} another program listens, not Kafka: it says {foreign!r:.60}"
        return _EndedError("settings", text, "set kafka.bootstrap_servers to the port of Kafka")
    text = f"{at} takes connections and ends them without a word"
    return _EndedError("away", text, "wait until the broker has started, or look into its log")


def _why_closed(connection: KafkaConnection, address: HostPort) -> _EndedError:
    """Why a broker that speaks our protocol ended the connection at the first real question."""
    at = shown_host_port(address)
    if not connection.security_protocol.startswith("SASL"):
        try:
            with _dialled(connection, address) as dialogue:
                dialogue.ask(ApiVersionsRequest(), 0)
                offered = dialogue.ask(SaslHandshakeRequest(mechanism="PLAIN"), 1).mechanisms
        except (_ClosedError, _EndedError, kafka_errors.KafkaError, OSError):
            offered = ()
        if offered:
            text = f"the broker at {at} wants a user and a password, kafka.security_protocol is"
            protocol = connection.security_protocol
            wanted = "SASL_SSL" if protocol == "SSL" else "SASL_PLAINTEXT"
            remedy = f"set it to {wanted}, kafka.sasl_mechanism to {' or '.join(sorted(offered))}, and name the user"
            return _EndedError("settings", f"{text} {protocol}", remedy)
    text = f"the broker at {at} answers and then ends the connection"
    return _EndedError("away", text, "look into its log")


class _Dialogue:
    """Questions and answers over one socket, one at a time."""

    def __init__(self, connected: socket.socket, client_id: str) -> None:
        self._socket = connected
        self._protocol = KafkaProtocol(client_id=client_id, receive_message_max_bytes=_LONGEST_ANSWER_BYTES)

    def ask(self, request: Any, version: int) -> Any:
        """The answer to ``request`` at ``version``.

        Raises:
            _ClosedError: the other side hung up, or what came is no answer.
            ssl.SSLError: it refuses our certificate.
        """
        request.API_VERSION = version
        self._protocol.send_request(request)
        deadline_s = time.monotonic() + _STEP_S
        try:
            self._socket.sendall(self._protocol.send_bytes())
            while time.monotonic() < deadline_s:
                came = self._socket.recv(_CHUNK_BYTES)
                if not came:
                    raise _ClosedError
                for _, answer in self._protocol.receive_bytes(came):
                    return answer
        except ssl.SSLError:
            raise
        except (OSError, kafka_errors.KafkaError) as error:
            raise _ClosedError from error
        raise _ClosedError


@contextmanager
def _dialled(connection: KafkaConnection, address: HostPort) -> Iterator[_Dialogue]:
    """A dialogue with what listens at ``address``, encrypted as the settings say."""
    with closing(_connected(address)) as plain:
        if "SSL" not in connection.security_protocol:
            yield _Dialogue(plain, connection.client_id)
            return
        try:
            encrypted = _tls_context(connection).wrap_socket(plain, server_hostname=address[0])
        except OSError as error:  # ssl.SSLError is one
            raise _tls_fault(connection, address, error) from error
        with closing(encrypted):
            yield _Dialogue(encrypted, connection.client_id)


def _connected(address: HostPort, timeout_s: float | None = None) -> socket.socket:
    at, timeout_s = shown_host_port(address), timeout_s or _STEP_S
    try:
        return socket.create_connection(address, timeout=timeout_s)
    except (socket.gaierror, UnicodeError) as error:  # UnicodeError: a label of 64 letters or more
        said = error.strerror if isinstance(error, socket.gaierror) else error
        text = f"the name '{address[0]}' of {at} is not known on this machine ({said})"
        raise _EndedError("address", text, "check kafka.bootstrap_servers and the name service") from error
    except TimeoutError as error:
        text = f"{at} does not take a connection within {timeout_s:.0f} s"
        raise _EndedError("away", text, "is the broker up, and does a firewall let this machine through?") from error
    except OSError as error:
        text = f"{at} takes no connection ({error.strerror or error})"
        raise _EndedError("away", text, "start the broker, or check kafka.bootstrap_servers") from error


def _tls_context(connection: KafkaConnection) -> ssl.SSLContext:
    """As the client makes it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    named = {"ssl_cafile": connection.ssl_cafile, "ssl_certfile": connection.ssl_certfile}
    try:
        if connection.ssl_cafile:
            context.load_verify_locations(connection.ssl_cafile)
        else:
            context.load_default_certs()
        if connection.ssl_certfile:
            context.load_cert_chain(connection.ssl_certfile, connection.ssl_keyfile)
    except OSError as error:
        files = ", ".join(f"kafka.{name} '{path}'" for name, path in named.items() if path)
        reason = error.strerror or error
        text = f"certificates must be readable PEM files, got {files}: {reason}"
        raise _EndedError("settings", text, "check the paths and the files") from error
    return context


def _tls_fault(connection: KafkaConnection, address: HostPort, error: OSError) -> _EndedError:
    at, protocol = shown_host_port(address), connection.security_protocol
    if isinstance(error, ssl.SSLCertVerificationError):
        trusted = f"'{connection.ssl_cafile}'" if connection.ssl_cafile else "the system's certificates"
        text = f"the certificate of the broker at {at} does not hold ({error.verify_message})"
        remedy = f"trusted is {trusted}: set kafka.ssl_cafile to the authority that signed it, and use a name it is for"
        return _EndedError("settings", text, remedy)
    reason = getattr(error, "reason", None) or str(error)
    if isinstance(error, ssl.SSLError) and "ALERT" in reason:
        text = f"the broker at {at} ends the TLS handshake ({reason})"
        return _EndedError(
            "settings", text, "it may want a certificate of ours: set kafka.ssl_certfile and ssl_keyfile"
        )
    if _speaks_kafka_plainly(address, connection.client_id):
        text = f"the port at {at} speaks Kafka without TLS, kafka.security_protocol is {protocol}"
        return _EndedError("settings", text, f"set it to {_PLAIN_OF[protocol]}, or use the port with TLS")
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        text = f"what listens at {at} does not speak TLS as it should ({reason})"
        return _EndedError("settings", text, "set kafka.bootstrap_servers to the port of Kafka, or check its TLS")
    text = f"{at} ends the TLS handshake without a word ({reason})"
    return _EndedError("away", text, "wait until the broker has started, or look into its log")


def _speaks_tls(address: HostPort) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent over it
    try:
        with closing(_connected(address, _AFTERTHOUGHT_S)) as plain, closing(context.wrap_socket(plain)):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except (OSError, _EndedError):
        return False


def _speaks_kafka_plainly(address: HostPort, client_id: str) -> bool:
    try:
        with closing(_connected(address, _AFTERTHOUGHT_S)) as plain:
            _Dialogue(plain, client_id).ask(ApiVersionsRequest(), 0)
            return True
    except (_ClosedError, _EndedError):
        return False


def _foreign_words(address: HostPort) -> bytes:
    """What a program says that is not Kafka; nothing if it says nothing."""
    try:
        with closing(_connected(address, _AFTERTHOUGHT_S)) as plain:
            plain.sendall(b"HELLO\r\n\r\n")
            return plain.recv(60)
    except (OSError, _EndedError):
        return b""
