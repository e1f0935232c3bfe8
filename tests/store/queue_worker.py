"""One of many processes in the tests of the queue: says ready, waits for a line, works, tells every step."""

import sys
import time
from pathlib import Path

from llmfail.core.store_url import parse_redis_url
from llmfail.store.disk_queue import DiskQueue
from llmfail.store.redis.redis_queue import RedisQueue

MAX_ITEMS, MAX_AGE, TIMEOUT = 10_000, 1000, 30


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
    """Take whatever there is, answer it, and tell what was printed; until there is nothing more."""
    while queue.count_pending():
        for item in queue.items():
            if queue.take(item.id, name, 30, is_victim) and queue.store_answer(item.id, name, "{}", 30):
                print_line(item.id)
                assert queue.remove(item.id, name)


def is_victim(holder):
    """Whose process is known to have ended."""
    return holder == "victim"


def take_one(queue, name):
    """Take one that others want too, and be killed in the middle of it."""
    item = next(queue.items())
    assert queue.take(item.id, name, 1)
    print_line(item.id)
    time.sleep(60)


def take(queue, name):
    """Take everything and be stopped in the middle."""
    for item in queue.items():
        if queue.take(item.id, name, 30):
            print_line(item.id)
    print_line("all")
    time.sleep(60)


def open_queue(place):
    if "://" in place:
        return RedisQueue(parse_redis_url(place), MAX_ITEMS, MAX_AGE, TIMEOUT)
    return DiskQueue(Path(place), MAX_ITEMS, MAX_AGE, TIMEOUT, time.time)


def main(job, place, *arguments):
    queue = open_queue(place)
    print_line("ready")
    sys.stdin.readline()
    globals()[job](queue, *arguments)
    queue.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
