"""The engine in memory: a memory store, a wire that is a script, a clock that moves only when told.

Nothing is patched: these are the engine's own ports.
"""

import json
from dataclasses import dataclass, field

from llmfail.core.errors import WireError
from llmfail.core.model import Address, Reply, Target
from llmfail.core.request.ask import Ask, to_messages
from llmfail.engine.engine import Engine
from llmfail.engine.ports.execution import run_sync
from llmfail.engine.ports.protocols import Ports
from llmfail.engine.ports.store_access import InlineStore
from llmfail.prices import Catalogue
from llmfail.settings import load
from llmfail.store.memory import MemoryStore

CONFIG = """\
version: 1
defaults: {{retries: 0, timeout: 10s, deadline: 60s}}
breaker: {{failure_threshold: 2, recovery_timeout: 60s, success_threshold: 1, half_open_limit: 1}}
providers:
  a: {{api: openai, base_url: "http://a.invalid/v1", api_key: key-of-a-0123}}
  b: {{api: openai, base_url: "http://b.invalid/v1", api_key: key-of-b-0123}}
  c: {{api: openai, base_url: "http://c.invalid/v1", api_key: key-of-c-0123}}
{more}
cache: {{enabled: {cached}}}
features:
  default: {{primary: a/one, fallbacks: [a/two, b/one, c/one]{feature}}}
"""


DONE = b"data: [DONE]\n\n"


def answer(text="hello", **fields):
    choice = {"message": {"content": text}, "finish_reason": "stop", **fields}
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    return Reply(200, {}, json.dumps({"model": "m", "choices": [choice], "usage": usage}).encode())


def error(status, code="", message="no", **headers):
    body = {"error": {"message": message, "type": code, "code": code, "param": headers.pop("param", None)}}
    return Reply(
        status, {name.replace("_", "-"): text for name, text in headers.items()}, json.dumps(body).encode()
    )


def chunk(text="", finish=None, **fields):
    """One event of a streamed answer; ``usage`` comes with the last."""
    choice = {"index": 0, "delta": {"content": text, **fields.pop("delta", {})}, "finish_reason": finish}
    return f"data: {json.dumps({'model': 'm', 'choices': [choice], **fields})}\n\n".encode()


def streamed_answer(*texts, usage={"prompt_tokens": 10, "completion_tokens": 5}):  # noqa: B006 - never changed
    """A whole streamed answer, event by event."""
    return ScriptedReply(
        *map(chunk, texts), chunk(finish="stop", **({"usage": usage} if usage else {})), DONE
    )


def address_of(target):
    """Where the configuration above has a target."""
    provider, _, model = str(target).partition("/")
    return Address("openai", f"http://{provider}.invalid/v1", model)


class ScriptedReply:
    """A reply that comes piece by piece: bytes, seconds of silence, or what is raised. It may be played
    again.
    """

    def __init__(self, *script, status=200):
        self.script = script
        self.status = status
        self.closed = 0

    def on(self, stage):
        return _ScriptedReading(self, stage)


@dataclass
class ProcessPause:
    """The process did, for so many seconds beyond whatever it waits for, and finds ``then`` once it goes on;
    without that, that its time is over.
    """

    seconds: float
    then: bytes = b""


class _ScriptedReading:
    waited = 0.0

    def __init__(self, live, stage):
        self.status, self.headers = live.status, {}
        self._live, self._stage = live, stage
        self._left = list(live.script)

    async def read(self, timeout):
        if timeout <= 0:
            raise WireError("timeout", "no time")
        while self._left and isinstance(self._left[0], int | float):
            silence = self._left.pop(0)
            self._stage.now += min(silence, timeout)
            if silence > timeout:
                raise WireError("timeout", "late")
            timeout -= silence
        word = self._left.pop(0) if self._left else b""
        if isinstance(word, ProcessPause):
            self._stage.now += timeout + word.seconds
            if word.then:
                return word.then
            raise WireError("timeout", "late")
        if isinstance(word, BaseException):
            raise word
        return word

    async def close(self):
        self._live.closed += 1


def embedding_reply(count):
    data = [{"index": place, "embedding": [0.5, 0.5]} for place in range(count)]
    return Reply(200, {}, json.dumps({"model": "m", "data": data, "usage": {"prompt_tokens": 3}}).encode())


def wire_error(cause):
    return WireError(cause, f"the wire: {cause}")


@dataclass
class ScriptedEngine:
    """``script`` maps a host to what it says, call by call; the last word is repeated. ``takes`` is how many
    seconds a call to a host lasts, ``ticks`` how many pass whenever somebody looks at the clock. ``apart``:
    the leases of those that get an answer are with the state.
    """

    directory: object
    script: dict
    takes: dict = field(default_factory=dict)
    more: str = ""
    feature: str = ""
    cached: bool = False
    apart: bool = False
    now: float = 1_700_000_000.0
    calls: list = field(default_factory=list)
    slept: list = field(default_factory=list)
    watch: object = lambda: None
    ticks: float = 0.0

    def __post_init__(self):
        file = self.directory / "llmfail.yaml"
        file.write_text(CONFIG.format(more=self.more, feature=self.feature, cached=str(self.cached).lower()))
        self.settings = load(file, {}, self.directory, self.directory)
        self.store = MemoryStore(lambda: self.now)
        self.answers = MemoryStore(lambda: self.now)
        self.tokens = ScriptedTokens()
        ids = iter(range(10**6))
        self.ports = Ports(
            send=self._send,
            open=self._open,
            google_tokens=self.tokens,
            store=InlineStore(self.store),
            catalogue=Catalogue(),
            sleep=self._sleep,
            prepare=lambda: None,
            is_down=lambda: False,
            monotonic=self._tick,
            wall=lambda: self.now,
            random=lambda: 0.5,
            new_id=lambda: f"id{next(ids)}",
            answers=InlineStore(self.answers),
            are_flights_in_state=lambda: self.apart,
        )
        self.engine = Engine(self.settings, self.ports)

    def ask(self, **options):
        targets = tuple(map(Target.parse, options.pop("targets", ())))
        return run_sync(self.engine.ask(Ask(to_messages("hi"), targets=targets, **options)))

    def shown(self, looks=0.0, **options):
        """The pieces that somebody is shown, who looks at each for so many seconds, and the receipt."""
        pieces = []

        async def show(piece):
            pieces.append(piece)
            self.now += looks

        ask = Ask(to_messages("hi"), stream=True, **options)
        receipt = run_sync(self.engine.ask(ask, on_text=show))
        return pieces, receipt

    def plan(self):
        return run_sync(self.engine.plan(Ask(to_messages("hi"))))

    def hosts(self):
        return "".join(host for host, _, _ in self.calls)

    def _tick(self):
        self.now += self.ticks
        return self.now

    async def _open(self, call, timeout):
        word = await self._send(call, timeout)
        return (
            word.on(self)
            if isinstance(word, ScriptedReply)
            else ScriptedReply(word.body, status=word.status).on(self)
        )

    async def _send(self, call, timeout):
        host = call.url.split("/")[2].partition(".")[0]
        self.calls.append((host, timeout, json.loads(call.body)))
        self.watch()
        lasts = self.takes.get(host, 0.0)
        self.now += min(lasts, timeout)
        if lasts > timeout:
            raise WireError("timeout", "late")
        said = self.script[host]
        word = said.pop(0) if len(said) > 1 else said[0]
        if isinstance(word, BaseException):
            raise word
        return word

    async def _sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


class ScriptedTokens:
    """Google tokens from a script: a Secret, None, or what to raise."""

    def __init__(self):
        self.script = [None]
        self.forgotten = 0

    async def get(self, limit):
        word = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(word, BaseException):
            raise word
        return word

    def forget(self):
        self.forgotten += 1
