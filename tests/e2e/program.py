"""``llmfail`` as processes of its own, with a configuration file in front of a simulator.

What a test reads is what a user's script reads: the exit code, standard output as bytes, standard error as
lines, and JSON where JSON was asked for.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from forked_program import start_llmfail
from simulator_calls import CLAUDE, GEMINI, GPT

from llmfail.client.options import ask_of
from llmfail.engine.engine import Engine
from llmfail.engine.ports.blocking import build_blocking_ports
from llmfail.engine.ports.execution import run_sync
from llmfail.engine.ports.protocols import Stores
from llmfail.prices import Catalogue
from llmfail.settings import load
from llmfail.store.disk import DiskStore
from llmfail.wire.blocking import HttpcoreWire

LLMFAIL = Path(sys.executable).with_name("llmfail")
PROCESS_TIMEOUT = 60
"""Seconds after which a process that still runs has failed the test. Nothing here should come near it."""
PIPE_CAPACITY = 64 * 1024

OPENAI = f"openai/{GPT}"
ANTHROPIC = f"anthropic/{CLAUDE}"
GOOGLE = f"google/{GEMINI}"
KEYS = {
    "ANTHROPIC_API_KEY": "made-up-anthropic-key",
    "OPENAI_API_KEY": "made-up-openai-key",
    "GOOGLE_API_KEY": "made-up-google-key",
}


def build_config(simulator, *chain, **sections):
    """One feature over three providers that are the simulator. Nobody is asked twice, no answer is stored."""
    primary, *fallbacks = chain or (OPENAI, ANTHROPIC, GOOGLE)
    return {
        "version": 1,
        "defaults": {"retries": 0},
        "providers": {
            "openai": {
                "api": "openai",
                "base_url": simulator.base_url("openai"),
                "api_key": "${OPENAI_API_KEY}",
            },
            "anthropic": {
                "api": "anthropic",
                "base_url": simulator.base_url("anthropic"),
                "api_key": "${ANTHROPIC_API_KEY}",
            },
            "google": {
                "api": "gemini",
                "base_url": simulator.base_url("google"),
                "api_key": "${GOOGLE_API_KEY}",
            },
        },
        "features": {"default": {"primary": primary, "fallbacks": fallbacks}},
        "cache": {"enabled": False},
    } | sections


@dataclass(frozen=True)
class ProcessResult:
    """A process that has ended."""

    code: int
    out: bytes
    err: str

    @property
    def document(self):
        """The one JSON value on standard output."""
        return json.loads(self.out)

    @property
    def lines(self):
        """What was said on standard error."""
        return self.err.splitlines()

    @property
    def trail(self):
        return [(entry["target"], entry["action"], entry["outcome"]) for entry in self.document["trail"]]


@dataclass(frozen=True)
class Program:
    """``llmfail`` in a directory, with an environment; ``before`` stands between its name and the command."""

    directory: Path
    environ: dict
    before: tuple = ()
    launcher: tuple = ()
    """A command line that runs the command line behind it, such as ``unshare``. With one the installed script
    is started; without one a process is forked from one that has imported the program."""

    def __call__(self, *arguments, stdin=b""):
        with self.start(*arguments, stdin=subprocess.PIPE) as process:
            return finish(process, stdin)

    def start(self, *arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE):
        place = {"cwd": self.directory, "env": os.environ | self.environ}
        streams = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
        if not self.launcher:
            return start_llmfail(*self.before, *arguments, **place, **streams)
        command = [*map(str, self.launcher), LLMFAIL, *map(str, self.before), *arguments]
        return subprocess.Popen(command, **place, **streams)

    def ask(self, *arguments, stdin=b""):
        """An ask that prints its receipt."""
        return self("ask", "Say hello", "--json", *arguments, stdin=stdin)

    def status(self, target=None):
        """The status of everything or of one target, as another process sees it."""
        ended = self("status", "--json")
        assert ended.code == 0, ended
        return ended.document if target is None else ended.document["providers"][target]

    def with_environ(self, **environ):
        return replace(self, environ=self.environ | environ)

    def without(self, *names):
        return replace(self, environ={k: v for k, v in self.environ.items() if k not in names})

    def before_that(self, *options):
        """The same with these options before the command."""
        return replace(self, before=(*self.before, *options))

    def under(self, *launcher):
        return replace(self, launcher=launcher)


def finish(process, stdin=None):
    """What a started process came to. One that does not end is killed, and fails the test."""
    try:
        out, err = process.communicate(stdin, timeout=PROCESS_TIMEOUT)
    except BaseException:
        process.kill()
        raise
    return ProcessResult(process.returncode, out or b"", (err or b"").decode())


def run_at_once(program, number, *arguments):
    """The results of so many processes that all stand behind one barrier until the last has come to it.

    The barrier is the prompt on standard input: it is longer than a pipe holds, so a process that has taken
    so much of it is past its start, and none goes on before the end of the prompt.
    """
    started = start_together(program, number, *arguments)
    try:
        return [finish(process) for process in started]
    finally:
        for process in started:
            with process:
                process.kill()


def start_together(program, number, *arguments):
    """So many processes that have just passed the barrier of ``at_once``."""
    started = [program.start(*arguments, stdin=subprocess.PIPE) for _ in range(number)]
    for process in started:
        process.stdin.write(b"a long prompt " * (2 * PIPE_CAPACITY // 14))
        process.stdin.flush()
    for process in started:
        process.stdin.close()
        process.stdin = None
    return started


def ask_engine_at(llmfail, state, now):
    """The engine of this configuration on the same state, by a clock that says so; what it comes to."""
    settings = load(llmfail.before[1], llmfail.environ, llmfail.directory, state)
    store, wire = DiskStore(state, 2.0, lambda: now), HttpcoreWire()
    try:
        engine = Engine(settings, build_blocking_ports(wire, Stores(store), Catalogue()))
        return run_sync(engine.ask(ask_of("Say hello")))
    finally:
        wire.close()
        store.close()


def wait_until(condition, patience=PROCESS_TIMEOUT):
    """Ask again and again, for as long as the patience lasts."""
    ends_at = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < ends_at, "it did not come true"
        time.sleep(0.02)


def parse_time(text):
    """ISO 8601 in UTC as epoch seconds."""
    assert text.endswith("Z"), text
    return datetime.fromisoformat(text).timestamp()
