"""``llmfail`` as its users run it: a process of its own, with pipes or on a terminal of a given width."""

import contextlib
import json
import os
import pty
import re
import select
import struct
import termios
import time
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path
from subprocess import DEVNULL, PIPE

import forked_program

from llmfail.store import open_store
from llmfail.store.state_records import read_records

ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
PROCESS_TIMEOUT = 30
"""Seconds after which a process that says nothing more has failed the test."""


@dataclass(frozen=True)
class CommandResult:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def lines(self):
        return self.out.splitlines()


def run_llmfail(*arguments, piped=None):
    """Standard input is empty unless something is piped."""
    done = forked_program.run_llmfail(*arguments, data=(piped or "").encode(), timeout=PROCESS_TIMEOUT)
    return CommandResult(done.returncode, done.stdout, done.stderr)


@contextlib.contextmanager
def run_on_terminal(columns, *arguments, keyboard=False):
    """A command whose standard output is a terminal, and with a keyboard its input too: a ``Screen``."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, columns, 0, 0))
    environ = {**os.environ, "TERM": "xterm-256color"}
    stdin = theirs if keyboard else DEVNULL
    with forked_program.start_llmfail(
        *arguments, stdin=stdin, stdout=theirs, stderr=PIPE, env=environ
    ) as process:
        os.close(theirs)
        try:
            yield TerminalProcess(process, ours)
        finally:
            process.kill()
            os.close(ours)


class TerminalProcess:
    """``text`` is what has been drawn so far, without colours."""

    def __init__(self, process, descriptor):
        self.process = process
        self.raw = b""
        self._descriptor = descriptor

    @property
    def text(self):
        return ESCAPES.sub(b"", self.raw).decode().replace("\r\n", "\n")

    def resize(self, columns):
        ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 60, columns, 0, 0))

    def press(self, keys):
        os.write(self._descriptor, keys)

    def until(self, wanted):
        """Read until the text holds this."""
        self._read(lambda: wanted in self.text)
        assert wanted in self.text, self.text

    def finish(self):
        """Read to the end: the exit code."""
        self._read(lambda: False)
        return self.process.wait(PROCESS_TIMEOUT)

    def _read(self, enough):
        end = time.monotonic() + PROCESS_TIMEOUT
        while not enough() and select.select([self._descriptor], [], [], max(end - time.monotonic(), 0))[0]:
            try:
                data = os.read(self._descriptor, 65536)
            except OSError:  # Linux says so when the other side has closed
                return
            if not data:
                return
            self.raw += data


def write_config(path, simulator, **rest):
    """A configuration with two providers at the simulator and one without a key; JSON is YAML."""
    document = {
        "version": 1,
        "defaults": {"retries": 0},
        "breaker": {"failure_threshold": 2},
        "providers": {
            "anthropic": {
                "api": "anthropic",
                "base_url": simulator.base_url("anthropic"),
                "api_key": "sk-ant-1",
            },
            "openai": {"api": "openai", "base_url": simulator.base_url("openai"), "api_key": "sk-oai-1"},
            "groq": {"api": "openai", "base_url": "http://127.0.0.1:9/v1", "api_key": "${GROQ_API_KEY}"},
        },
        "models": {
            "anthropic/claude-sonnet-5-5": {"price": {"input": 3, "output": 15}},
            "openai/gpt-6.1-terra": {"price": {"input": 2.5, "output": 10}},
            "groq/openai/gpt-oss-120b": {},
        },
        "features": {
            "default": {
                "primary": "anthropic/claude-sonnet-5-5",
                "fallbacks": ["openai/gpt-6.1-terra", "groq/openai/gpt-oss-120b"],
                "degrade": ["cached"],
            },
            "solo": {"aliases": ["alone"], "primary": "openai/gpt-6.1-terra"},
        },
        "cache": {"enabled": False},
    }
    path.write_text(json.dumps({**document, **rest}))
    return path


@contextlib.contextmanager
def open_state():
    """The store in which the state of this test is kept."""
    directory = Path(os.environ["LLMFAIL_STATE_DIR"])
    directory.mkdir(mode=0o700, exist_ok=True)
    store = open_store(os.environ.get("LLMFAIL_STORE", "disk"), directory, 2.0, print)
    try:
        yield store
    finally:
        store.close()


def read_store_rows():
    """Everything in the store."""
    if "LLMFAIL_STORE" not in os.environ and not Path(os.environ["LLMFAIL_STATE_DIR"]).exists():
        return []
    with open_state() as store:
        return sorted((one.key, one.text) for one in read_records(store))


def write_change(change):
    """In the store, what the ``change`` writes."""
    with open_state() as store:
        store.update(change.keys, lambda values, now: (change.change(values, now), None))
