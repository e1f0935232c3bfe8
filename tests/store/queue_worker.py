"""One of many processes in the tests of the queue: says ready, waits for a line, works, tells every step."""

import sys
import time
from pathlib import Path

from llmfail.store.queue import RequestQueue


def print_line(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def put(queue, name, number):
    for n in range(int(number)):
        queue.put(f"{name}-{n:04}", "default", "{}", None)
        print_line(f"{name}-{n:04}")


def put_for_ever(queue, name):
    put(queue, name, 9999)


def answer(queue, name):
    """Take whatever there is, answer it, and tell what was printed."""
    for item in queue.items():
        if queue.take(item.id, name, 30) and queue.store_answer(item.id, name, "{}", 30):
            print_line(item.id)
            assert queue.remove(item.id, name)


def take(queue, name):
    """Take everything and be stopped in the middle."""
    for item in queue.items():
        if queue.take(item.id, name, 30):
            print_line(item.id)
    print_line("all")
    time.sleep(60)


def main(job, directory, *arguments):
    queue = RequestQueue(Path(directory), 10_000, 1000, timeout=30, clock=time.time)
    print_line("ready")
    sys.stdin.readline()
    globals()[job](queue, *arguments)
    queue.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
