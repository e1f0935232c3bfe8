"""A pseudo-terminal as a process sees one: what it writes there, and where it believes to be."""

import os
import pty
import select
import time

from program import PROCESS_TIMEOUT


class Terminal:
    """``with Terminal() as screen:`` has ``screen.fd`` for a process, and ``screen.text``: what it wrote."""

    def __enter__(self):
        self._controller, self.fd = pty.openpty()
        self._data = b""
        return self

    def __exit__(self, *_exc_info):
        os.close(self._controller)
        os.close(self.fd)

    @property
    def text(self):
        """What has arrived by now, with plain newlines."""
        self._read(0)
        return self._data.decode().replace("\r\n", "\n")

    def wait_for(self, text):
        ends_at = time.monotonic() + PROCESS_TIMEOUT
        while text not in self.text:
            assert time.monotonic() < ends_at, self.text
            self._read(0.1)

    def _read(self, patience):
        while select.select([self._controller], [], [], patience)[0]:
            self._data += os.read(self._controller, 65_536)
            patience = 0
