"""What stands between a client and a server and does it harm: every command arrives, and replies are lost or
late.
"""

import socket
import threading
import time
from contextlib import suppress


class LossyProxy:
    """In place of every n-th reply it closes the connection; ``lost`` counts them. Each reply comes ``delay``
    seconds later.
    """

    def __init__(self, port, lose_every=None, delay=0.0):
        self.lost = 0
        self._port = port
        self._lose_every = lose_every
        self._delay = delay
        self._replies = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client):
        with client, socket.create_connection(("127.0.0.1", self._port)) as server, suppress(OSError):
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while command := client.recv(1 << 20):
                server.sendall(command)
                reply = server.recv(1 << 20)
                if self._is_to_be_lost():
                    return
                time.sleep(self._delay)
                client.sendall(reply)

    def _is_to_be_lost(self):
        with self._lock:
            self._replies += 1
            is_lost = self._lose_every is not None and self._replies % self._lose_every == 0
            self.lost += is_lost
            return is_lost


class SilentServer:
    """It accepts, and says nothing, or ``drip`` by single bytes."""

    def __init__(self, drip=b"", pause=0.2):
        self._drip = drip
        self._stop = threading.Event()
        self._pause = pause
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self._stop.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._speak, args=(client,), daemon=True))
                self._threads[-1].start()

    def _speak(self, client):
        with client, suppress(OSError):
            for byte in self._drip:
                client.sendall(bytes([byte]))
                if self._stop.wait(self._pause):
                    return
            self._stop.wait()
