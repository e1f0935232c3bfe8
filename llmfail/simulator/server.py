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
from llmfail.simulator import formats
from llmfail.simulator.canned_answer import greeting
from llmfail.simulator.connection import JSON, converse
from llmfail.simulator.faults import HEALTHY, Fault, Faults, parse
from llmfail.simulator.http1 import Incoming, Streamed
from llmfail.simulator.listener import LOOPBACK, Door
from llmfail.simulator.recorded_request import Seen, read_document, route

APIS: Mapping[str, Api] = {
    "anthropic": "anthropic",
    "openai": "openai",
    "google": "gemini",
    "gemini": "gemini",
    "vertex": "vertex",
}
"""What a provider speaks, by its usual name; any other speaks OpenAI's format."""
FAREWELL = 1.0
"""Seconds for the threads to end when the simulator closes; they are daemons anyway."""

Answer = Callable[[Seen], str | Reply | Streamed]
"""What a healthy provider says: the text, or a whole reply of your own."""


class Simulator:
    """``with Simulator(parse("openai=503")) as simulator: simulator.base_url("openai")``.

    Thread-safe. Faults and answers may change while it runs; a change of faults starts their counts anew.
    """

    def __init__(
        self,
        faults: Faults | None = None,
        *,
        answer: Answer = greeting,
        apis: Mapping[str, Api] = APIS,
        port: int = 0,
    ) -> None:
        self._answer = answer
        self._apis = apis
        self._faults = faults or Faults()
        self._hits: Counter[str] = Counter()
        self._seen: list[Seen] = []
        self._changed = threading.Condition(threading.RLock())
        self._doors: dict[str, Door] = {}
        self._talks: dict[socket.socket, threading.Thread] = {}
        self._wish = port

    def __enter__(self) -> Self:
        self._selector = selectors.DefaultSelector()
        self._door("", self._wish)
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._porter = threading.Thread(target=self._let_in, name="simulator", daemon=True)
        self._porter.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wake.close()
        self._porter.join(FAREWELL)
        with self._changed:
            talks = dict(self._talks)
            for connection in talks:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in talks.values():
            thread.join(FAREWELL)
        for door in self._doors.values():
            door.socket.close()
        self._woken.close()
        self._selector.close()

    @property
    def url(self) -> str:
        """The port that serves every provider, and the control channel."""
        return f"http://{LOOPBACK}:{self._doors[''].port}"

    def base_url(self, provider: str) -> str:
        """What to configure as the provider's ``base_url``."""
        with self._changed:
            door = self._door(provider)
        version = "/v1" if self._api(provider) == "openai" else ""
        return f"http://{LOOPBACK}:{door.port}/{provider}{version}"

    def set_faults(self, faults: Faults) -> None:
        """From now on; when this returns, who is to refuse connections does."""
        with self._changed:
            self._faults = faults
            self._hits.clear()
            for door in self._doors.values():
                self._swing(door)

    def set_answer(self, answer: Answer) -> None:
        self._answer = answer

    @property
    def requests(self) -> list[Seen]:
        """Every request so far, in the order of arrival."""
        with self._changed:
            return list(self._seen)

    def count(self, name: str | None = None) -> int:
        """Requests so far to a provider, to a target, or in all."""
        return sum(name in {None, seen.provider, seen.target} for seen in self.requests)

    def connections(self, provider: str | None = None) -> int:
        """Connections accepted so far at the provider's own port, or in all."""
        with self._changed:
            return sum(door.accepted for name, door in self._doors.items() if provider in {None, name})

    def talking(self) -> int:
        """Connections that are open now."""
        with self._changed:
            return len(self._talks)

    def wait_for(self, condition: Callable[[], bool], timeout: float = 10.0) -> bool:
        """Whether the condition came true in time; asked again after every request and connection's end."""
        with self._changed:
            return self._changed.wait_for(condition, timeout)

    def arrive(self, incoming: Incoming) -> tuple[Seen, Fault]:
        provider, rest = _split(incoming.path)
        document = read_document(incoming.body)
        way = route(rest, document, self._api(provider))
        with self._changed:
            number = len(self._seen) + 1
            seen = Seen(number, provider, way.model, *incoming, document=document, route=way)
            self._seen.append(seen)
            fault = self._draw(seen)
            self._changed.notify_all()
        return seen, fault

    def answer(self, seen: Seen) -> Reply | Streamed:
        said = self._answer(seen)
        return formats.answer(seen, said) if isinstance(said, str) else said

    def control(self, incoming: Incoming) -> Reply | None:
        match incoming.method, incoming.path:
            case "GET", "/__requests":
                return Reply(200, JSON, json.dumps(self._tally()).encode())
            case "POST", "/__faults":
                try:
                    self.set_faults(parse(incoming.body.decode("utf-8", "replace")))
                except UsageError as error:
                    return Reply(400, JSON, json.dumps({"error": str(error)}).encode())
                return Reply(200, JSON, b"{}")
            case _:
                return None

    def _tally(self) -> dict[str, object]:
        seen = self.requests
        return {
            "total": len(seen),
            "providers": Counter(one.provider for one in seen),
            "targets": Counter(one.target for one in seen),
            "connections": {name: self.connections(name) for name in list(self._doors) if name},
        }

    def _api(self, provider: str) -> Api:
        return self._apis.get(provider, "openai")

    def _draw(self, seen: Seen) -> Fault:
        name, fault = self._faults.rule(seen.provider, seen.model)
        self._hits[name] += 1
        return fault if fault.times is None or self._hits[name] <= fault.times else HEALTHY

    def _door(self, name: str, port: int = 0) -> Door:
        if name not in self._doors:
            self._doors[name] = Door(name, port)
            self._swing(self._doors[name])
        return self._doors[name]

    def _swing(self, door: Door) -> None:
        """Open or shut, as the faults want it."""
        refuses = bool(door.name) and self._faults.refuses(door.name)
        if refuses and door.is_open:
            self._selector.unregister(door.socket)
            door.shut()
        elif not refuses and not door.is_open:
            door.open()
            self._selector.register(door.socket, selectors.EVENT_READ, door)

    def _let_in(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    return
                with self._changed:
                    while connection := key.data.accept():
                        key.data.accepted += 1
                        self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        thread = threading.Thread(
            target=self._converse, args=(connection,), name="simulator talk", daemon=True
        )
        self._talks[connection] = thread
        thread.start()

    def _converse(self, connection: socket.socket) -> None:
        try:
            converse(connection, self)
        finally:
            with self._changed:
                del self._talks[connection]
                connection.close()
                self._changed.notify_all()


def _split(path: str) -> tuple[str, str]:
    """``/openai/v1/chat/completions`` -> ``openai`` and the rest, with its slash."""
    provider, slash, rest = path.removeprefix("/").partition("/")
    return provider, slash + rest
