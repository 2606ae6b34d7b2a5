"""The web server, in a thread of its own, over a socket that somebody else has opened."""

import logging
import socket
import threading
from pathlib import Path

import uvicorn

from console.web.guard import Application
from console.web.stream import Streams

_log = logging.getLogger(__name__)

END_S = 5.0
MAX_CONNECTIONS = 250
KEEP_ALIVE_S = 15


class Serving:
    """Answers from ``start`` to ``close``.

    Args:
        app: the pages.
        listening: a bound socket; closed here.
        streams: ended first, since they would not end by themselves.
        proxies: whose word on the address and the scheme of a request is believed, comma separated.
        certificate, key: files, for TLS; None = none.
    """

    def __init__(
        self,
        app: Application,
        listening: socket.socket,
        streams: Streams,
        proxies: str = "127.0.0.1",
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        self._socket = listening
        self._streams = streams
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            proxy_headers=True,
            forwarded_allow_ips=proxies,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=2,
            ssl_certfile=certificate,
            ssl_keyfile=key,
            ws="none",
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)
        logging.getLogger("uvicorn").setLevel(logging.WARNING)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether it still answers."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Answer no more; the address is free afterwards."""
        self._streams.end()
        self._server.should_exit = True
        self._thread.join(END_S)
        self._socket.close()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except Exception:
            _log.exception("the console's pages have ended")
