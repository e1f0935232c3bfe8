"""The simulator's lifetime: its ports, its threads, what it has seen, and the faults it plays now.

Every provider gets a port of its own, as it has a host of its own in life: a provider that refuses
connections has nobody listening, and the connections of each are counted apart. The simulator's own port
serves every provider too (first segment of the path) and the control channel of ``python -m
llmfail.simulator``; there, and where only a target or the first N calls are refused, ``refuse`` reads the
request and resets the connection, because before that nobody knows which model it is for.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from llmfail.core.errors import UsageError
from llmfail.core.model import Api, Reply
from llmfail.core.vendors import VENDORS_BY_NAME
from llmfail.simulator import formats
from llmfail.simulator.canned_turn import CannedTurn, answer_as_model
from llmfail.simulator.connection import JSON_HEADERS, serve_connection
from llmfail.simulator.faults import HEALTHY, Fault, Faults, parse_faults
from llmfail.simulator.http1 import EventStreamReply, HttpRequest
from llmfail.simulator.listener import LOOPBACK, Listener
from llmfail.simulator.recorded_request import RecordedRequest, match_route, read_document

APIS: Mapping[str, Api] = {
    name: vendor.api for name, vendor in VENDORS_BY_NAME.items() if vendor.api != "openai" or name == "openai"
}
"""What a provider speaks, by its usual name; any other speaks OpenAI's format."""
JOIN_TIMEOUT = 1.0
"""Seconds for the threads to end when the simulator closes; they are daemons anyway."""

AnswerFunction = Callable[[RecordedRequest], str | CannedTurn | Reply | EventStreamReply]
"""What a healthy provider says: the text, or a whole reply of your own."""


class Simulator:
    """``with Simulator(parse("openai=503")) as simulator: simulator.base_url("openai")``.

    Thread-safe. Faults and answers may change while it runs; a change of faults starts their counts anew.
    """

    def __init__(
        self,
        faults: Faults | None = None,
        *,
        answer: AnswerFunction = answer_as_model,
        apis: Mapping[str, Api] = APIS,
        port: int = 0,
    ) -> None:
        self._answer = answer
        self._apis = apis
        self._faults = faults or Faults()
        self._hits: Counter[str] = Counter()
        self._recorded: list[RecordedRequest] = []
        self._changed = threading.Condition(threading.RLock())
        self._listeners: dict[str, Listener] = {}
        self._connection_threads: dict[socket.socket, threading.Thread] = {}
        self._wanted_port = port

    def __enter__(self) -> Self:
        self._selector = selectors.DefaultSelector()
        self._open_listener("", self._wanted_port)
        self._stop_sender, self._stop_receiver = socket.socketpair()
        self._selector.register(self._stop_receiver, selectors.EVENT_READ)
        self._accept_thread = threading.Thread(target=self._accept_connections, name="simulator", daemon=True)
        self._accept_thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_sender.close()
        self._accept_thread.join(JOIN_TIMEOUT)
        with self._changed:
            talks = dict(self._connection_threads)
            for connection in talks:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in talks.values():
            thread.join(JOIN_TIMEOUT)
        for listener in self._listeners.values():
            listener.socket.close()
        self._stop_receiver.close()
        self._selector.close()

    @property
    def url(self) -> str:
        """The port that serves every provider, and the control channel."""
        return f"http://{LOOPBACK}:{self._listeners[''].port}"

    def base_url(self, provider: str) -> str:
        """What to configure as the provider's ``base_url``."""
        with self._changed:
            listener = self._open_listener(provider)
        version = "/v1" if self._find_api(provider) == "openai" else ""
        return f"http://{LOOPBACK}:{listener.port}/{provider}{version}"

    def set_faults(self, faults: Faults) -> None:
        """From now on; when this returns, who is to refuse connections does."""
        with self._changed:
            self._faults = faults
            self._hits.clear()
            for listener in self._listeners.values():
                self._apply_refusal(listener)

    def set_answer(self, answer: AnswerFunction) -> None:
        self._answer = answer

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request so far, in the order of arrival."""
        with self._changed:
            return list(self._recorded)

    def count(self, name: str | None = None) -> int:
        """Requests so far to a provider, to a target, or in all."""
        return sum(name in {None, seen.provider, seen.target} for seen in self.requests)

    def count_connections(self, provider: str | None = None) -> int:
        """Connections accepted so far at the provider's own port, or in all."""
        with self._changed:
            counts = {name: listener.accepted for name, listener in self._listeners.items()}
        return sum(counts.values()) if provider is None else counts.get(provider, 0)

    def count_open_connections(self) -> int:
        """Connections that are open now."""
        with self._changed:
            return len(self._connection_threads)

    def wait_for(self, condition: Callable[[], bool], timeout: float = 30.0) -> bool:
        """Whether the condition came true in time; asked again after every request and connection's end."""
        with self._changed:
            return self._changed.wait_for(condition, timeout)

    def record_request(self, incoming: HttpRequest) -> tuple[RecordedRequest, Fault]:
        provider, rest = _split_provider(incoming.path)
        document = read_document(incoming.body)
        way = match_route(rest, document, self._find_api(provider))
        with self._changed:
            number = len(self._recorded) + 1
            seen = RecordedRequest(number, provider, way.model, *incoming, document=document, route=way)
            self._recorded.append(seen)
            fault = self._draw_fault(seen)
            self._changed.notify_all()
        return seen, fault

    def answer(self, request: RecordedRequest) -> Reply | EventStreamReply:
        said = self._answer(request)
        return formats.build_answer(request, said) if isinstance(said, str | CannedTurn) else said

    def handle_control(self, incoming: HttpRequest) -> Reply | None:
        match incoming.method, incoming.path:
            case "GET", "/__requests":
                return Reply(200, JSON_HEADERS, json.dumps(self._summarize_requests()).encode())
            case "POST", "/__faults":
                try:
                    self.set_faults(parse_faults(incoming.body.decode("utf-8", "replace")))
                except UsageError as error:
                    return Reply(400, JSON_HEADERS, json.dumps({"error": str(error)}).encode())
                return Reply(200, JSON_HEADERS, b"{}")
            case _:
                return None

    def _summarize_requests(self) -> dict[str, object]:
        seen = self.requests
        return {
            "total": len(seen),
            "providers": Counter(one.provider for one in seen),
            "targets": Counter(one.target for one in seen),
            "connections": {name: self.count_connections(name) for name in list(self._listeners) if name},
        }

    def _find_api(self, provider: str) -> Api:
        return self._apis.get(provider, "openai")

    def _draw_fault(self, request: RecordedRequest) -> Fault:
        name, fault = self._faults.find_fault(request.provider, request.model)
        self._hits[name] += 1
        return fault if fault.times is None or self._hits[name] <= fault.times else HEALTHY

    def _open_listener(self, name: str, port: int = 0) -> Listener:
        if name not in self._listeners:
            self._listeners[name] = Listener(name, port)
            self._apply_refusal(self._listeners[name])
        return self._listeners[name]

    def _apply_refusal(self, listener: Listener) -> None:
        """Open or shut, as the faults want it."""
        refuses = bool(listener.name) and self._faults.is_refusing_connections(listener.name)
        if refuses and listener.is_listening:
            self._selector.unregister(listener.socket)
            listener.stop_listening()
        elif not refuses and not listener.is_listening:
            listener.start_listening()
            self._selector.register(listener.socket, selectors.EVENT_READ, listener)

    def _accept_connections(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._stop_receiver:
                    return
                with self._changed:
                    while connection := key.data.accept():
                        key.data.accepted += 1
                        self._start_connection_thread(connection)

    def _start_connection_thread(self, connection: socket.socket) -> None:
        thread = threading.Thread(
            target=self._serve_connection, args=(connection,), name="simulator talk", daemon=True
        )
        self._connection_threads[connection] = thread
        thread.start()

    def _serve_connection(self, connection: socket.socket) -> None:
        try:
            serve_connection(connection, self)
        finally:
            with self._changed:
                del self._connection_threads[connection]
                connection.close()
                self._changed.notify_all()


def _split_provider(path: str) -> tuple[str, str]:
    """``/openai/v1/chat/completions`` -> ``openai`` and the rest, with its slash."""
    provider, slash, rest = path.removeprefix("/").partition("/")
    return provider, slash + rest
