"""Providers on loopback that play a script, token by token: what the simulator does not break is a stream.

A script is a list of steps, and what is left out of it is the healthy case: ``["one", " two"]`` is an answer
of two tokens with its end marks, ``["one", CUT]`` one that is cut after the first. A test holds a stream by a
``threading.StreamEvent`` in it. Who asks for no stream hears the same as one document, once every wait in the
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

from stream_events import FORMATS

from llmfail.simulator.http1 import HttpConnection
from llmfail.simulator.recorded_request import RecordedRequest, match_route, read_document

APIS = {"anthropic": "anthropic", "google": "gemini", "vertex": "vertex"}
"""What a provider speaks, by its name; any other speaks OpenAI's format."""
POLL_SECONDS = 0.01
REPEAT_SECONDS = 0.05
"""Seconds between what is said again and again."""
JOIN_TIMEOUT = 5


class ScriptStep(Enum):
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
    GARBLED = auto()
    """An event whose JSON is cut."""


@dataclass(frozen=True)
class ErrorEvent:
    """The provider is overloaded, and says so inside its 200."""

    text: str


HEAD, PING, PINGING, ENDLESS, STALL = (
    ScriptStep.HEAD,
    ScriptStep.PING,
    ScriptStep.PINGING,
    ScriptStep.ENDLESS,
    ScriptStep.STALL,
)
CUT, STOP, CLOSE, PLAIN = ScriptStep.CUT, ScriptStep.STOP, ScriptStep.CLOSE, ScriptStep.PLAIN
GARBLED = ScriptStep.GARBLED
ERROR = ErrorEvent("Overloaded")
BREAKS = {"error": ERROR, "cut": CUT, "end of the body": STOP, "end of the connection": CLOSE}
"""How a stream may break off by itself."""


@dataclass(frozen=True)
class ThinkingToken:
    """A token of thinking."""

    text: str = "hm"


@dataclass(frozen=True)
class SplitToken:
    """A token whose event comes in two parts, divided within its first character."""

    text: str


@dataclass
class PlayedRequest:
    """One request. ``left`` is set when the client goes away before its reply is over, ``done`` when the
    script has been played to its end.
    """

    request: RecordedRequest
    said: list = field(default_factory=list)
    """The steps that have been played."""
    left: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def streamed(self):
        """Whether a stream was asked for."""
        return self.request.route.stream


class ScriptedStreams:
    """``with Streams() as streams:`` listens on loopback. ``reports``: whether usage is told."""

    def __init__(self):
        self.reports = True
        self.connections = 0
        self._scripts = {}
        self._counts = Counter()
        self._asked = []
        self._connection_threads = {}
        self._changed = threading.Condition()
        self._over = threading.Event()

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._accept_thread = threading.Thread(target=self._accept_connections, daemon=True)
        self._accept_thread.start()
        return self

    def __exit__(self, *_exc_info):
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accept_thread.join(JOIN_TIMEOUT)
        with self._changed:
            talks = dict(self._connection_threads)
            for connection in talks:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in talks.values():
            thread.join(JOIN_TIMEOUT)

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
            return [one for one in self._asked if provider in {None, one.request.provider}]

    def count(self, provider=None):
        return len(self.asked(provider))

    def wait_for(self, condition, timeout=30.0):
        """Whether the condition came true in time; asked again whenever something has been said."""
        with self._changed:
            return self._changed.wait_for(condition, timeout)

    def _accept_connections(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                thread = threading.Thread(target=self._serve_connection, args=(connection,), daemon=True)
                with self._changed:
                    self.connections += 1
                    self._connection_threads[connection] = thread
                    thread.start()

    def _serve_connection(self, connection):
        http = HttpConnection(connection)
        try:
            with connection, contextlib.suppress(OSError):
                while (incoming := http.read_request()) is not None:
                    if not self._play_script(connection, *self._record_request(incoming)):
                        return
        finally:
            with self._changed:
                del self._connection_threads[connection]
                self._changed.notify_all()

    def _record_request(self, incoming):
        provider, slash, rest = incoming.path.removeprefix("/").partition("/")
        document = read_document(incoming.body)
        way = match_route(slash + rest, document, APIS.get(provider, "openai"))
        with self._changed:
            seen = RecordedRequest(
                len(self._asked) + 1, provider, way.model, *incoming, document=document, route=way
            )
            scripts = self._scripts.get(provider) or ([f"{seen.target} heard: ", seen.prompt],)
            script = scripts[min(self._counts[provider], len(scripts) - 1)]
            self._counts[provider] += 1
            asked = PlayedRequest(seen)
            self._asked.append(asked)
            self._changed.notify_all()
        return asked, script

    def _play_script(self, connection, asked, script):
        """Whether the connection goes on."""
        words = FORMATS[asked.request.route.format](asked.request.model, reports=self.reports)
        call = _ReplyWriter(connection, words, self._over, closing=CLOSE in script)
        streamed = asked.streamed and PLAIN not in script
        try:
            for step in script:
                if not (call.play(step) if streamed else call.play_wait(step)):
                    return False
                with self._changed:
                    asked.said.append(step)
                    self._changed.notify_all()
            call.end() if streamed else call.send_document(script)
        except (_ClientGoneError, OSError):
            asked.left.set()
            return False
        finally:
            asked.done.set()
            with self._changed:
                self._changed.notify_all()
        return not call.closing


class _ClientGoneError(Exception):
    """The client has gone away, or the server ends."""


class _ReplyWriter:
    """One reply under way."""

    def __init__(self, connection, words, over, *, closing):
        self.closing = closing
        self._connection = connection
        self._words = words
        self._over = over
        self._has_sent_head = self._has_begun = self._has_ended = False

    def play(self, step):
        """One step of a stream. False when the connection is to end here."""
        match step:
            case str() | ThinkingToken() | SplitToken():
                self._send_begin()
                self._send_token(step)
            case ScriptStep.HEAD:
                self._send_head()
            case ScriptStep.PING:
                self._send(self._words.ping())
            case ScriptStep.PINGING:
                self._repeat(self._words.ping)
            case ScriptStep.ENDLESS:
                self._send_begin()
                self._repeat(lambda: self._words.text("more "))
            case ScriptStep.GARBLED:
                *_, event = self._words.text("more").rstrip().split(b"\n\n")
                self._send(event[:-5] + b"\n\n")
            case ErrorEvent():
                self._send(self._words.error(step.text))
                self._finish()
            case ScriptStep.STOP | ScriptStep.CLOSE:
                self._send_head()
                self._finish()
            case ScriptStep.CUT:
                self._send_head()
                return False
            case _:
                self._wait(step)
        return True

    def play_wait(self, step):
        """Only what takes time of a step, for who asked for no stream."""
        if step in {ScriptStep.PINGING, ScriptStep.ENDLESS}:
            self._wait(ScriptStep.STALL)
        else:
            self._wait(step)
        return True

    def end(self):
        """The end marks, unless the script had an end of its own."""
        if not self._has_ended:
            self._send_begin()
            self._send(self._words.end())
            self._finish()

    def send_document(self, script):
        """The same script as one document; half of it where a stream would break off."""
        body = json.dumps(self._document(script)).encode()
        half = body[: len(body) // 2] if any(step in script for step in (CUT, STOP, CLOSE)) else body
        promised = len(body if CUT in script else half)
        framing = "connection: close" if self.closing else f"content-length: {promised}"
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{framing}\r\n\r\n"
        self._connection.sendall(head.encode() + half)
        self.closing = self.closing or CUT in script

    def _document(self, script):
        for step in script:
            if isinstance(step, ErrorEvent):
                return self._words.fault(step.text)
        texts = (step.text if isinstance(step, SplitToken) else step for step in script)
        return self._words.whole("".join(text for text in texts if isinstance(text, str)))

    def _send_head(self):
        if not self._has_sent_head:
            self._has_sent_head = True
            framing = b"connection: close" if self.closing else b"transfer-encoding: chunked"
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n%b\r\n\r\n" % framing
            self._connection.sendall(head)

    def _send_begin(self):
        if not self._has_begun:
            self._has_begun = True
            self._send(self._words.begin())

    def _send_token(self, step):
        match step:
            case str():
                self._send(self._words.text(step))
            case ThinkingToken():
                self._send(self._words.thought(step.text))
            case SplitToken():
                data = self._words.text(step.text)
                middle = data.index(step.text.encode()) + 1
                self._send(data[:middle])
                self._wait(REPEAT_SECONDS)
                self._send(data[middle:])

    def _repeat(self, encode):
        while True:
            self._send(encode())
            self._wait(REPEAT_SECONDS)

    def _send(self, data):
        self._send_head()
        if data:
            framed = data if self.closing else b"%x\r\n%b\r\n" % (len(data), data)
            self._connection.sendall(framed)

    def _finish(self):
        self._has_ended = True
        if not self.closing:
            self._connection.sendall(b"0\r\n\r\n")

    def _wait(self, step):
        """For an event of the test, so many seconds, or until the client goes away. Anything else is no
        wait.
        """
        match step:
            case float():
                ends_at = time.monotonic() + step
                self._wait_until(lambda: time.monotonic() >= ends_at)
            case threading.Event():
                self._wait_until(step.is_set)
            case ScriptStep.STALL:
                self._wait_until(lambda: False)

    def _wait_until(self, is_over):
        while not is_over():
            readable, _, _ = select.select([self._connection], [], [], POLL_SECONDS)
            if self._over.is_set() or (readable and not self._connection.recv(1, socket.MSG_PEEK)):
                raise _ClientGoneError
