"""A pseudo-terminal as a process sees one: what it writes there, and where it believes to be."""

import os
import pty
import select
import time

from program import PATIENCE


class Terminal:
    """``with Terminal() as screen:`` has ``screen.fd`` for a process, and ``screen.text``: what it wrote."""

    def __enter__(self):
        self._ours, self.fd = pty.openpty()
        self._data = b""
        return self

    def __exit__(self, *_exc_info):
        os.close(self._ours)
        os.close(self.fd)

    @property
    def text(self):
        """What has arrived by now, with plain newlines."""
        self._read(0)
        return self._data.decode().replace("\r\n", "\n")

    def wait_for(self, text):
        ends_at = time.monotonic() + PATIENCE
        while text not in self.text:
            assert time.monotonic() < ends_at, self.text
            self._read(0.1)

    def _read(self, patience):
        while select.select([self._ours], [], [], patience)[0]:
            self._data += os.read(self._ours, 65_536)
            patience = 0
