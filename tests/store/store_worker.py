"""One of many processes in the tests of the store: says ready, waits for a line, works, reports as JSON."""

import asyncio
import json
import sys
from pathlib import Path

from llmfail.core.errors import StoreError
from llmfail.core.records.record import Write
from llmfail.engine.ports.threaded_store import GroupCommitStore
from llmfail.store import open_store
from llmfail.store.disk import DiskStore


def increment(*keys):
    def change(values, now):
        return {key: Write(str(int(values[key] or 0) + 1)) for key in keys}, None

    return change


def print_line(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def count(disk, times):
    for _ in range(int(times)):
        disk.update(["a", "b"], increment("a", "b"))


def count_for_ever(disk):
    while True:
        disk.update(["a", "b"], increment("a", "b"))
        print_line("+")


def count_together(disk, times):
    """As often, by many coroutines at once."""
    keeper = GroupCommitStore(disk)

    async def add():
        for _ in range(int(times)):
            await keeper.update(["a", "b"], increment("a", "b"))
            print_line("+")

    async def many():
        await asyncio.gather(*(add() for _ in range(20)))

    asyncio.run(many())


JOBS = {"count": count, "count_for_ever": count_for_ever, "count_together": count_together}


def main(job, directory, *arguments):
    warnings = []
    disk = open_store(directory, Path(directory), 30, warnings.append) if "://" in directory else None
    disk = disk or DiskStore(Path(directory), timeout=30, warn=warnings.append)
    print_line("ready")
    sys.stdin.readline()
    error = None
    try:
        JOBS[job](disk, *arguments)
    except StoreError as failed:
        error = str(failed)
    disk.close()
    print_line(json.dumps({"error": error, "warnings": warnings}))


if __name__ == "__main__":
    main(*sys.argv[1:])
