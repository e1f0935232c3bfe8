"""Real servers of Redis, started by the tests that need them and ended with them."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

SERVER = "redis-server"
CLOCK_SOURCE = Path(__file__).parent / "store" / "server_clock.c"
START_SECONDS = 20


def require_program(name):
    found = shutil.which(name)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return found


def find_free_port():
    """Below the range from which the system chooses, and with room for the port of a cluster's bus."""
    while True:
        port = 10_000 + int.from_bytes(os.urandom(2), "big") % 20_000
        with socket.socket() as trial, suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port


def wait_until(is_so, seconds=60):
    gives_up_at = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < gives_up_at
        time.sleep(0.02)


class RedisProcess:
    """One server; ``run`` sends it a command and gives the reply as text."""

    def __init__(self, directory, *options, port=None, environ=None, sentinel=False):
        self.directory = directory
        self.port = port or find_free_port()
        self.password = None
        self._options = options
        self._environ = environ or {}
        self._sentinel = sentinel
        directory.mkdir(exist_ok=True)
        self.start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *more):
        """``more``: options for this time."""
        options = (
            [] if self._sentinel else ["--port", str(self.port), "--save", "", "--dir", str(self.directory)]
        )
        command = [require_program(SERVER), *map(str, self._options), *options, *more]
        with (self.directory / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--sentinel"] if self._sentinel else command,
                cwd=self.directory,
                env=os.environ | self._environ,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.wait_until_ready()

    def wait_until_ready(self):
        give_up_at = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up_at:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as trial:
                trial.sendall(b"PING\r\n")
                if trial.recv(100)[:5] in {b"+PONG", b"-NOAU", b"-DENI", b"-LOAD"}:
                    return
            assert self.process.poll() is None, (self.directory / "redis.log").read_text()
            time.sleep(0.02)
        raise AssertionError((self.directory / "redis.log").read_text())

    def run(self, *command):
        login = ["-a", self.password, "--no-auth-warning"] if self.password else []
        done = subprocess.run(
            [require_program("redis-cli"), "-p", str(self.port), *login, *map(str, command)],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.thaw()
            self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.stop()


def build_clock_library(directory):
    """What is preloaded into a server whose clock a test sets."""
    library = directory / "server_clock.so"
    command = [require_program("cc"), "-shared", "-fPIC", "-o", library, CLOCK_SOURCE, "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return library


class ServerClock:
    """A server's clock that stands still until it is set; ``environ`` is for the server."""

    def __init__(self, directory):
        self._file = directory / "moment"
        self.now = 1000.0
        self.environ = {
            "LD_PRELOAD": str(build_clock_library(directory)),
            "CLOCK_MOMENT_FILE": str(self._file),
        }

    @property
    def now(self):
        return float(self._file.read_text())

    @now.setter
    def now(self, moment):
        draft = self._file.with_suffix(".new")
        draft.write_text(repr(float(moment)))
        draft.replace(self._file)

    def __call__(self):
        return self.now


@contextmanager
def start_cluster(directory):
    """Three nodes of a cluster."""
    ports = [find_free_port() for _ in range(3)]
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
    with ExitStack() as running:
        nodes = [
            running.enter_context(start_redis(directory / str(port), *options, port=port)) for port in ports
        ]
        addresses = [f"127.0.0.1:{port}" for port in ports]
        command = [require_program("redis-cli"), "--cluster", "create", *addresses, "--cluster-yes"]
        subprocess.run(command, check=True, capture_output=True)
        wait_until(lambda: all("cluster_state:ok" in node.run("CLUSTER", "INFO") for node in nodes))
        yield nodes


@contextmanager
def start_redis(directory, *options, **how):
    with RedisProcess(directory, *options, **how) as server:
        yield server
