"""Many real processes that begin at the same moment, and one that has fewer rights than we have."""

import json
import os
from pathlib import Path
from subprocess import PIPE

from forked_program import start_script

WORKER = Path(__file__).with_name("store_worker.py")


def start_workers(count, job, directory, *arguments):
    """Workers that are ready and wait for ``release_workers``."""
    words = job, str(directory), *map(str, arguments)
    workers = [start_script(WORKER, *words, stdin=PIPE, stdout=PIPE, text=True) for _ in range(count)]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    return workers


def release_workers(workers):
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()


def read_reports(workers):
    return [json.loads(worker.communicate()[0]) for worker in workers]


def wait_for_end(worker):
    with worker:
        worker.stdout.read()


def run_workers(count, job, directory, *arguments):
    workers = start_workers(count, job, directory, *arguments)
    release_workers(workers)
    return read_reports(workers)


def run_in_child(work, meanwhile=lambda: None):
    """The text that ``work`` returns in a forked child of ours, while we do something else."""
    end, other = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            text = work()
        except BaseException as error:  # noqa: BLE001 - the parent's assertion shows it
            text = f"raised {error!r}"
        os.write(other, text.encode())
        os._exit(0)
    os.close(other)
    meanwhile()
    with os.fdopen(end) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text


def run_unprivileged(work):
    """The same, without the rights of root, if we have them."""

    def powerless():
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        return work()

    return run_in_child(powerless)
