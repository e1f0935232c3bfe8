"""Somebody to whom alerts are posted."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hook:
    """Takes what is posted. ``statuses`` are answered in turn, the last for ever; None: no answer at all."""

    def __init__(self, *statuses):
        self.posted = []
        self.statuses = list(statuses) or [204]
        self.released, self.has_posted = threading.Event(), threading.Event()
        self.changed = threading.Condition()
        self.on_post = lambda: None
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                with hook.changed:
                    hook.posted.append((self.path, dict(self.headers.items()), body))
                    hook.changed.notify_all()
                hook.has_posted.set()
                hook.on_post()
                status = hook.statuses.pop(0) if len(hook.statuses) > 1 else hook.statuses[0]
                if status is None:
                    hook.released.wait(30)
                    return
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def wait_for(self, count):
        """Until so much has been posted."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.posted) >= count, 30), self.posted

    def bodies(self, path):
        return [json.loads(body) for at, _, body in self.posted if at == path]

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
