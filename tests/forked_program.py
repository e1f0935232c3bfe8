"""The command line as processes that are forked from one that has imported it.

Each is a process of its own, with its own arguments, environment, directory, descriptors and signals, and
runs the entry of the installed script. Only imports are shared: five sixths of the processor time of a short
command. What an interpreter decides at its start (encodings, options) and what a start imports is seen in a
real start alone, so an environment that tells the interpreter something else gets one, as does every system
but Linux.
"""

import atexit
import functools
import gc
import json
import os
import pkgutil
import re
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT

import llmfail

LIBRARIES = (
    "aiohttp",
    "encodings.idna",
    "encodings.utf_8_sig",
    "httpcore",
    "platformdirs.unix",
    "rich.live",
    "rich.table",
    "typer.main",
    "typer._click.decorators",
    "yaml",
)
"""What commands import beside modules of their own."""
FOR_INTERPRETER = re.compile("(PYTHON|LC_|_?TYPER_).*|LANG|LANGUAGE")
"""Variables that are read once, while Python or a library of it starts."""


def _for_interpreter(environ):
    return {name: value for name, value in environ.items() if FOR_INTERPRETER.fullmatch(name)}


INTERPRETER = _for_interpreter(os.environ)
"""Those that the forking process starts with, whatever a test sets."""


def run_llmfail(*arguments, data=b"", timeout=60, **place):
    """One of these to its end, as ``subprocess.run`` would give its text."""
    process = start_llmfail(*arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, **place)
    with process:
        try:
            out, err = process.communicate(data, timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(arguments, process.returncode, out.decode(), err.decode())


def start_llmfail(*arguments, **place):
    """The command line with these arguments, as ``subprocess.Popen`` would start it."""
    return start_script(None, *arguments, **place)


def start_script(script, *arguments, cwd=".", env=None, stdin=None, stdout=None, stderr=None, text=False):
    """A script that uses the package, or the command line where there is none."""
    environ = dict(os.environ if env is None else env)
    words = [os.fsdecode(one) for one in arguments]
    if sys.platform != "linux" or _for_interpreter(environ) != INTERPRETER:
        command = [sys.executable, *([script] if script else ["-m", "llmfail"]), *words]
        streams = {"stdin": stdin, "stdout": stdout, "stderr": stderr, "text": text}
        return subprocess.Popen(command, cwd=cwd, env=environ, **streams)
    order = {
        "script": script and str(script),
        "arguments": words,
        "directory": str(Path(cwd).resolve()),
        "environ": environ,
    }
    return ForkedProcess(order, (stdin, stdout, stderr), text=text)


class ForkedProcess:
    """What tests use of ``subprocess.Popen``, for a process that is a child of the server's."""

    def __init__(self, order, streams, *, text):
        stdin, stdout, stderr = streams
        self.returncode, self._kind = None, "" if text else "b"
        self._given = []  # descriptors that the process has by now, and this one needs no more
        try:
            descriptors = [self._take(stdin, 0), self._take(stdout, 1)]
            descriptors.append(descriptors[1] if stderr == STDOUT else self._take(stderr, 2))
            ours, theirs = socket.socketpair()
            self._given.append(theirs.detach())
            socket.send_fds(_server(), [b"\n"], [*descriptors, self._given[-1]])
        finally:
            for descriptor in self._given:
                os.close(descriptor)
        self._reports = ours.makefile("rb")
        with ours:
            ours.sendall(json.dumps(order).encode() + b"\n")
        self.pid = int(self._reports.readline())

    def _take(self, stream, number):
        """The descriptor for the process; our end of a pipe is the attribute of that number."""
        name = ("stdin", "stdout", "stderr")[number]
        setattr(self, name, None)
        if stream is None:
            return number
        if stream == DEVNULL:
            self._given.append(os.open(os.devnull, os.O_RDWR))
        elif stream == PIPE:
            reading, writing = os.pipe()
            theirs, ours = (reading, writing) if number == 0 else (writing, reading)
            setattr(self, name, os.fdopen(ours, ("w" if number == 0 else "r") + self._kind))
            self._given.append(theirs)
        else:
            return stream if isinstance(stream, int) else stream.fileno()
        return self._given[-1]

    def __enter__(self):
        return self

    def __exit__(self, *_exc_info):
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        self.wait()

    def poll(self):
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout=None):
        if self.returncode is None:
            if not select.select([self._reports], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("llmfail", timeout)
            self.returncode = os.waitstatus_to_exitcode(int(self._reports.readline()))
            self._reports.close()
        return self.returncode

    def communicate(self, data=None, timeout=None):
        """Standard output and standard error to their end."""
        end = None if timeout is None else time.monotonic() + timeout
        streams = [one for one in (self.stdout, self.stderr) if one is not None]
        read = {}
        readers = [
            threading.Thread(target=lambda one=one: read.update({one: one.read()}), daemon=True)
            for one in streams
        ]
        for reader in readers:
            reader.start()
        if self.stdin is not None:
            with suppress(BrokenPipeError):
                if data:
                    self.stdin.write(data)
            with suppress(BrokenPipeError):
                self.stdin.close()
        for reader in readers:
            reader.join(None if end is None else max(end - time.monotonic(), 0))
            if reader.is_alive():
                raise subprocess.TimeoutExpired("llmfail", timeout)
        for stream in streams:
            stream.close()
        self.wait(None if end is None else max(end - time.monotonic(), 0))
        return read.get(self.stdout), read.get(self.stderr)

    def send_signal(self, number):
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


@functools.cache
def _server():
    """The connection to the process that forks; it ends with this one."""
    ours, theirs = socket.socketpair()
    rest = {name: value for name, value in os.environ.items() if not FOR_INTERPRETER.fullmatch(name)}
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=rest | INTERPRETER,
        )
    atexit.register(lambda: (ours.close(), process.wait()))
    return ours


def serve(orders):
    """Fork a process for each order that comes, and report its pid and how it ended."""
    import_all()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what it stops is the tests
    gc.collect()
    gc.freeze()
    with selectors.DefaultSelector() as selector:
        selector.register(orders, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not orders:
                    selector.unregister(key.fileobj)
                    report_end(key.fileobj, *key.data)
                    continue
                _, descriptors, _, _ = socket.recv_fds(orders, 1, 4)
                if not descriptors:
                    return
                pid = fork_program(descriptors)
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, descriptors[3]))


def import_all():
    ours = (module.name for module in pkgutil.walk_packages(llmfail.__path__, "llmfail."))
    for name in (*ours, *LIBRARIES):
        if not name.endswith("__main__"):
            import_module(name)


def fork_program(descriptors):
    """A process with these standard streams; the last descriptor has its order and takes its reports."""
    pid = os.fork()
    if pid == 0:
        run(descriptors)
    for descriptor in descriptors[:3]:
        os.close(descriptor)
    os.write(descriptors[3], b"%d\n" % pid)
    return pid


def report_end(process, pid, report):
    os.close(process)
    _, status = os.waitpid(pid, 0)
    with suppress(BrokenPipeError):  # the test has not waited for it
        os.write(report, b"%d\n" % status)
    os.close(report)


def run(descriptors):
    """Be the process of an order from its first line to its end."""
    code = 1
    try:
        with os.fdopen(descriptors[3], "rb") as lines:
            order = json.loads(lines.readline())
        for number, descriptor in enumerate(descriptors[:3]):
            os.dup2(descriptor, number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        prepare(order)
        if order["script"] is not None:
            runpy.run_path(order["script"], run_name="__main__")
            sys.stdout.flush()
            os._exit(0)
        from llmfail.cli.startup import main

        main()
    except SystemExit as exit_:
        code = exit_.code
    except BaseException:  # noqa: BLE001  # as an interpreter ends
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def prepare(order):
    """Arguments, environment, directory, signals and streams as at the start of an interpreter."""
    os.chdir(order["directory"])
    os.environ.clear()
    os.environ.update(order["environ"])
    time.tzset()
    sys.argv = [order["script"] or "llmfail", *order["arguments"]]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("stdin", "stdout", "stderr"):
        old = getattr(sys, name)
        mode, buffering = ("r" if name == "stdin" else "w"), (1 if name == "stderr" else -1)
        new = os.fdopen(old.fileno(), mode, buffering, old.encoding, old.errors, closefd=False)
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
