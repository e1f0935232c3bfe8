"""Providers on loopback that play a script, token by token: what the simulator does not break is a stream.

A script is a list of steps, and what is left out of it is the healthy case: ``["one", " two"]`` is an answer
of two tokens with its end marks, ``["one", CUT]`` one that is cut after the first. A test holds a stream by a
``threading.Event`` in it. Who asks for no stream hears the same as one document, once every wait in the
script is over.
"""

import contextlib
import json
import select
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum, auto

from events import FORMATS

from llmfail.core.model import Reply
from llmfail.simulator.http1 import Reader, whole
from llmfail.simulator.recorded_request import Seen, read_document, route

APIS = {"anthropic": "anthropic", "google": "gemini", "vertex": "vertex"}
"""What a provider speaks, by its name; any other speaks OpenAI's format."""
TICK = 0.01
HURRY = 0.05
"""Seconds between what is said again and again."""
FAREWELL = 5


class Step(Enum):
    HEAD = auto()
    """The head of the reply alone; every other step that sends something sends it first."""
    PING = auto()
    """Something that is no token."""
    PINGING = auto()
    """Pings until the client goes away."""
    ENDLESS = auto()
    """Tokens until the client goes away."""
    STALL = auto()
    """Nothing until the client goes away."""
    CUT = auto()
    """The connection ends in the middle of the body."""
    STOP = auto()
    """The body ends as HTTP wants it, without the end mark of the stream."""
    CLOSE = auto()
    """The same where the end of the connection is the end of the body."""
    PLAIN = auto()
    """A whole document although a stream was asked for."""


@dataclass(frozen=True)
class Fault:
    """The provider is overloaded, and says so inside its 200."""

    text: str


HEAD, PING, PINGING, ENDLESS, STALL = Step.HEAD, Step.PING, Step.PINGING, Step.ENDLESS, Step.STALL
CUT, STOP, CLOSE, PLAIN = Step.CUT, Step.STOP, Step.CLOSE, Step.PLAIN
ERROR = Fault("Overloaded")
BREAKS = {"error": ERROR, "cut": CUT, "end of the body": STOP, "end of the connection": CLOSE}
"""How a stream may break off by itself."""


@dataclass(frozen=True)
class Thought:
    """A token of thinking."""

    text: str = "hm"


@dataclass(frozen=True)
class Halves:
    """A token whose event comes in two parts, divided within its first character."""

    text: str


@dataclass
class Asked:
    """One request. ``left`` is set when the client goes away before its reply is over, ``done`` when the
    script has been played to its end.
    """

    seen: Seen
    said: list = field(default_factory=list)
    """The steps that have been played."""
    left: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def streamed(self):
        """Whether a stream was asked for."""
        return self.seen.route.stream


class Streams:
    """``with Streams() as streams:`` listens on loopback. ``reports``: whether usage is told."""

    def __init__(self):
        self.reports = True
        self.connections = 0
        self._scripts = {}
        self._counts = Counter()
        self._asked = []
        self._talks = {}
        self._changed = threading.Condition()
        self._over = threading.Event()

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._porter = threading.Thread(target=self._let_in, daemon=True)
        self._porter.start()
        return self

    def __exit__(self, *_exc_info):
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._porter.join(FAREWELL)
        with self._changed:
            talks = dict(self._talks)
            for connection in talks:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in talks.values():
            thread.join(FAREWELL)

    def base_url(self, provider):
        version = "" if provider in APIS else "/v1"
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/{provider}{version}"

    def plays(self, provider, *scripts):
        """What the provider says from now on, call by call; the last script is repeated. Without one it says
        who it is and what it heard.
        """
        with self._changed:
            self._scripts[provider] = scripts
            self._counts[provider] = 0

    def asked(self, provider=None):
        """The requests so far, in their order."""
        with self._changed:
            return [one for one in self._asked if provider in {None, one.seen.provider}]

    def count(self, provider=None):
        return len(self.asked(provider))

    def wait_for(self, condition, timeout=30.0):
        """Whether the condition came true in time; asked again whenever something has been said."""
        with self._changed:
            return self._changed.wait_for(condition, timeout)

    def _let_in(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                thread = threading.Thread(target=self._converse, args=(connection,), daemon=True)
                with self._changed:
                    self.connections += 1
                    self._talks[connection] = thread
                    thread.start()

    def _converse(self, connection):
        reader = Reader(connection)
        try:
            with connection, contextlib.suppress(OSError):
                while (incoming := reader.next()) is not None:
                    if not self._played(connection, *self._arrived(incoming)):
                        return
        finally:
            with self._changed:
                del self._talks[connection]
                self._changed.notify_all()

    def _arrived(self, incoming):
        provider, slash, rest = incoming.path.removeprefix("/").partition("/")
        document = read_document(incoming.body)
        way = route(slash + rest, document, APIS.get(provider, "openai"))
        with self._changed:
            seen = Seen(len(self._asked) + 1, provider, way.model, *incoming, document=document, route=way)
            scripts = self._scripts.get(provider) or ([f"{seen.target} heard: ", seen.prompt],)
            script = scripts[min(self._counts[provider], len(scripts) - 1)]
            self._counts[provider] += 1
            asked = Asked(seen)
            self._asked.append(asked)
            self._changed.notify_all()
        return asked, script

    def _played(self, connection, asked, script):
        """Whether the connection goes on."""
        words = FORMATS[asked.seen.route.format](asked.seen.model, reports=self.reports)
        call = _Call(connection, words, self._over, closing=CLOSE in script)
        streamed = asked.streamed and PLAIN not in script
        try:
            for step in script:
                if not (call.play(step) if streamed else call.waited(step)):
                    return False
                with self._changed:
                    asked.said.append(step)
                    self._changed.notify_all()
            call.end() if streamed else call.tell(script)
        except (_GoneError, OSError):
            asked.left.set()
            return False
        finally:
            asked.done.set()
            with self._changed:
                self._changed.notify_all()
        return not call.closing


class _GoneError(Exception):
    """The client has gone away, or the server ends."""


class _Call:
    """One reply under way."""

    def __init__(self, connection, words, over, *, closing):
        self.closing = closing
        self._connection = connection
        self._words = words
        self._over = over
        self._headed = self._begun = self._ended = False

    def play(self, step):
        """One step of a stream. False when the connection is to end here."""
        match step:
            case str() | Thought() | Halves():
                self._begin()
                self._say(step)
            case Step.HEAD:
                self._head()
            case Step.PING:
                self._send(self._words.ping())
            case Step.PINGING:
                self._again(self._words.ping)
            case Step.ENDLESS:
                self._begin()
                self._again(lambda: self._words.text("more "))
            case Fault():
                self._send(self._words.error(step.text))
                self._finish()
            case Step.STOP | Step.CLOSE:
                self._head()
                self._finish()
            case Step.CUT:
                self._head()
                return False
            case _:
                self._wait(step)
        return True

    def waited(self, step):
        """Only what takes time of a step, for who asked for no stream."""
        if step in {Step.PINGING, Step.ENDLESS}:
            self._wait(Step.STALL)
        else:
            self._wait(step)
        return True

    def end(self):
        """The end marks, unless the script had an end of its own."""
        if not self._ended:
            self._begin()
            self._send(self._words.end())
            self._finish()

    def tell(self, script):
        """The same script as one document; half of it where a stream would break off."""
        body = json.dumps(self._document(script)).encode()
        half = body[: len(body) // 2] if any(step in script for step in (CUT, STOP, CLOSE)) else body
        head, _ = whole(Reply(200, {"content-type": "application/json"}, body if CUT in script else half))
        if self.closing:
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
        self._connection.sendall(head + half)
        self.closing = self.closing or CUT in script

    def _document(self, script):
        for step in script:
            if isinstance(step, Fault):
                return self._words.fault(step.text)
        texts = (step.text if isinstance(step, Halves) else step for step in script)
        return self._words.whole("".join(text for text in texts if isinstance(text, str)))

    def _head(self):
        if not self._headed:
            self._headed = True
            framing = b"connection: close" if self.closing else b"transfer-encoding: chunked"
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n%b\r\n\r\n" % framing
            self._connection.sendall(head)

    def _begin(self):
        if not self._begun:
            self._begun = True
            self._send(self._words.begin())

    def _say(self, step):
        match step:
            case str():
                self._send(self._words.text(step))
            case Thought():
                self._send(self._words.thought(step.text))
            case Halves():
                data = self._words.text(step.text)
                middle = data.index(step.text.encode()) + 1
                self._send(data[:middle])
                self._wait(HURRY)
                self._send(data[middle:])

    def _again(self, words):
        while True:
            self._send(words())
            self._wait(HURRY)

    def _send(self, data):
        self._head()
        if data:
            framed = data if self.closing else b"%x\r\n%b\r\n" % (len(data), data)
            self._connection.sendall(framed)

    def _finish(self):
        self._ended = True
        if not self.closing:
            self._connection.sendall(b"0\r\n\r\n")

    def _wait(self, step):
        """For an event of the test, so many seconds, or until the client goes away. Anything else is no
        wait.
        """
        match step:
            case float():
                ends_at = time.monotonic() + step
                self._stay(lambda: time.monotonic() >= ends_at)
            case threading.Event():
                self._stay(step.is_set)
            case Step.STALL:
                self._stay(lambda: False)

    def _stay(self, is_over):
        while not is_over():
            readable, _, _ = select.select([self._connection], [], [], TICK)
            if self._over.is_set() or (readable and not self._connection.recv(1, socket.MSG_PEEK)):
                raise _GoneError
