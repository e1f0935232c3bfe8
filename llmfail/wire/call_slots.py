"""How many calls of one event loop may be under way at the same time, so that each has a file descriptor."""

from __future__ import annotations

import asyncio
import resource
import sys
from collections import deque

RETIREMENT_SECONDS = 5.0
"""For so long there is one place less for calls, once there was no descriptor for one."""


class CallSlots:
    """The places of calls that are under way at the same time. A place that is left goes to who has waited
    longest.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def are_all_taken(self) -> bool:
        return self._free == 0

    async def acquire(self) -> None:
        if self._free:
            self._free -= 1
        else:
            await self._wait()
        self._taken += 1

    def release(self) -> None:
        self._taken -= 1
        self._pass_on()

    def retire(self) -> bool:
        """Give up a place that can be none now, and for a while nobody gets it. False, and it is kept, where
        it is the only one taken: no end of another call will help.
        """
        if self._taken == 1:
            return False
        self._taken -= 1
        asyncio.get_running_loop().call_later(RETIREMENT_SECONDS, self._pass_on)
        return True

    async def _wait(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            if not turn.cancelled():  # It came in the same moment.
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


def compute_max_calls() -> int:
    """At once: a quarter of the file descriptors. The rest is for idle connections to the targets that failed
    before, for the store and for whatever else this process does.
    """
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, soft // 4) if soft != resource.RLIM_INFINITY else sys.maxsize
