"""The first moments of a process, before a command can stop in order."""

import signal
import subprocess
import sys

import pytest

INTERRUPT_WHILE_LOADING = """
import builtins, os, signal, sys
from llmfail.cli import startup

load = builtins.__import__

def interrupt(name, *arguments, **options):
    if name == {module!r}:
        os.kill(os.getpid(), signal.SIGINT)
    return load(name, *arguments, **options)

builtins.__import__ = interrupt
sys.argv = ["llmfail", "--version"]
startup.main()
"""


@pytest.mark.parametrize("module", ["llmfail.cli.main", "llmfail.cli.signals", "llmfail.core.errors"])
def test_ctrl_c_while_the_program_loads_ends_it_without_a_word(module):
    program = INTERRUPT_WHILE_LOADING.format(module=module)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"", b"")
    assert done.returncode == -signal.SIGINT


def test_an_ignored_ctrl_c_stays_ignored():
    """As nohup and the jobs of a shell in the background want it."""
    program = INTERRUPT_WHILE_LOADING.format(module="llmfail.cli.main")
    ignoring = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{program}"
    done = subprocess.run([sys.executable, "-c", ignoring], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"llmfail ")
