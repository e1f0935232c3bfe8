"""A provider that repeats the key it was sent, wherever a reply has room for text.

It speaks through a socket of its own rather than the simulator, because it has to break rules that a server
keeps: a status line with a key in it, a header without a name. What it says is chosen by the first segment of
the path: ``Echo.url("answer", "openai")`` puts the key into the answer of an OpenAI endpoint.
"""

import base64
import contextlib
import json
import socket
import threading
from html import escape as html_escape
from urllib.parse import quote

END = b"\r\n\r\n"
JSON = "content-type: application/json"
MANNERS = {}
"""How to repeat a key, by name: ``(key, api) -> the whole reply, as bytes``."""


class Echo:
    """``with Echo() as echo:`` listens on loopback and answers every connection once. ``redirected`` counts
    those who followed a redirect.
    """

    def __enter__(self):
        self.keys = []
        self.redirected = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_exc_info):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def url(self, manner, api):
        host, port = self._listener.getsockname()
        return f"http://{host}:{port}/{manner}/{api}"

    def _listen(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, contextlib.suppress(ConnectionError):
                    connection.sendall(self._reply(_request(connection)))

    def _reply(self, request):
        head = request.partition(END)[0].decode("latin-1")
        _, manner, api, *_ = head.split(" ")[1].split("/")
        if manner == "elsewhere":
            self.redirected += 1
            return reply("200 OK", "{}")
        key = _key(head)
        self.keys.append(key)
        return MANNERS[manner](key, api)


def _request(connection):
    """A whole request: the head, and as much body as it promises."""
    data = b""
    while END not in data:
        if not (more := connection.recv(65_536)):
            raise ConnectionResetError
        data += more
    head, _, body = data.partition(END)
    lengths = [line for line in head.lower().splitlines() if line.startswith(b"content-length:")]
    missing = int(lengths[0].partition(b":")[2]) - len(body) if lengths else 0
    while missing > 0:
        missing -= len(connection.recv(65_536))
    return data


def _key(head):
    headers = {
        name.lower(): text.strip() for name, _, text in (row.partition(":") for row in head.split("\r\n"))
    }
    bearer = headers.get("authorization", "").removeprefix("Bearer ")
    return headers.get("x-api-key") or headers.get("x-goog-api-key") or bearer


def reply(status, body, *headers):
    body = body if isinstance(body, bytes) else body.encode()
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", "connection: close", *headers]
    return "\r\n".join(lines).encode("latin-1") + END + body


def _manner(function):
    MANNERS[function.__name__] = function
    return function


def completion(api, text, *, model="m", finish=None):
    """A healthy answer in the provider's format."""
    match api:
        case "anthropic":
            return {
                "id": "msg",
                "type": "message",
                "role": "assistant",
                "model": model,
                "content": [{"type": "text", "text": text}],
                "stop_reason": finish or "end_turn",
                "usage": {"input_tokens": 1, "output_tokens": 1},
            }
        case "gemini":
            content = {"role": "model", "parts": [{"text": text}]}
            return {
                "candidates": [{"content": content, "finishReason": finish or "STOP"}],
                "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1},
                "modelVersion": model,
            }
        case _:
            message = {"role": "assistant", "content": text}
            return {
                "id": "x",
                "model": model,
                "choices": [{"index": 0, "message": message, "finish_reason": finish or "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1},
            }


def fault(api, status, key, *, code=None):
    """An error in the provider's format with the key in every text of it."""
    said = f"What you sent: {key} x-api-key: {key}"
    match api:
        case "anthropic":
            error = {"type": code or key, "message": said, "details": {"error_code": code or key}}
            return {"type": "error", "error": error, "request_id": key}
        case "gemini":
            info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": key, "domain": key}
            return {"error": {"code": status, "message": said, "status": code or key, "details": [info]}}
        case _:
            return {"error": {"message": said, "type": key, "param": key, "code": code or key}}


@_manner
def answer(key, api):
    text = f"Your key is {key}, and here it is once more: {key}"
    return reply("200 OK", json.dumps(completion(api, text)), JSON, f"request-id: {key}", f"x-note: {key}")


@_manner
def model(key, api):
    return reply("200 OK", json.dumps(completion(api, "Hello", model=f"model-{key}")), JSON)


@_manner
def finish(key, api):
    return reply("200 OK", json.dumps(completion(api, "Hello", finish=key)), JSON)


@_manner
def finish_without_text(key, api):
    return reply("200 OK", json.dumps(completion(api, "", finish=key)), JSON)


@_manner
def error_in_200(key, api):
    return reply("200 OK", json.dumps(fault(api, 500, key)), JSON)


@_manner
def not_json(key, _api):
    return reply("200 OK", f'{{"half": "{key}', JSON)


@_manner
def wrong_types(key, _api):
    body = {"choices": key, "content": key, "candidates": key, "model": [key], "usage": key, key: key}
    return reply("200 OK", json.dumps(body), JSON)


@_manner
def html(key, _api):
    page = f"<html><head><title>Bad {key}</title></head><body>{key}</body></html>"
    return reply("502 Bad Gateway", page, "content-type: text/html")


@_manner
def plain_text(key, _api):
    return reply(f"500 {key}", f"Failed with {key}\n{key}", "content-type: text/plain", f"retry-after: {key}")


@_manner
def status_line(key, _api):
    return f"HTTP/1.1 {key} {key}\r\n\r\n".encode()


@_manner
def not_http(key, _api):
    return f"{key}\r\n{key}\r\n\r\n".encode()


@_manner
def header_line(key, _api):
    return b"HTTP/1.1 200 OK\r\n" + f"{key} {key}\r\n\r\n".encode()


@_manner
def redirect(key, _api):
    return reply("307 Temporary Redirect", key, f"location: /elsewhere/{key}/?key={key}")


@_manner
def redirect_escaped(key, _api):
    return reply("302 Found", key, f"location: /elsewhere/{quote(key, safe='')}/x")


@_manner
def message_400(key, api):
    return reply("400 Bad Request", json.dumps(fault(api, 400, key)), JSON)


@_manner
def message_401(key, api):
    return reply("401 Unauthorized", json.dumps(fault(api, 401, key)), JSON, f"www-authenticate: {key}")


@_manner
def message_403(key, api):
    return reply("403 Forbidden", json.dumps(fault(api, 403, key)), JSON)


@_manner
def message_404(key, api):
    return reply("404 Not Found", json.dumps(fault(api, 404, key)), JSON)


@_manner
def message_429(key, api):
    return reply("429 Too Many", json.dumps(fault(api, 429, key)), JSON, f"retry-after: 30 {key}")


@_manner
def message_500(key, api):
    return reply("500 Oops", json.dumps(fault(api, 500, key)), JSON)


@_manner
def billing(key, api):
    return reply("402 Pay", json.dumps(fault(api, 402, key, code="insufficient_quota")), JSON)


@_manner
def bare_words(key, _api):
    return reply(
        "503 Away", json.dumps({"error": key, "message": key, "detail": [{"loc": [key], "msg": key}]}), JSON
    )


@_manner
def cut_at_its_end(key, _api):
    """So much text before it that a note would end in the middle of the key."""
    texts = {"error": {"message": "x" * 185 + key + "y" * 100, "code": None}}
    return reply("500 Oops", json.dumps(texts), JSON)


@_manner
def taken_apart(key, _api):
    """With characters between its letters that are not shown."""
    apart = "\u200b".join(key)
    split = key[:9] + "\x1b[0m" + key[9:]
    return reply(
        "500 Oops", json.dumps({"error": {"message": f"{apart} {split} {key[:9]}\x00{key[9:]}"}}), JSON
    )


def written(form):
    """An error with the key as another program writes it down."""

    def manner(key, api):
        return reply("500 Oops", json.dumps(fault(api, 500, form(key))), JSON)

    return manner


MANNERS |= {
    "as_json": written(json.dumps),
    "as_python": written(repr),
    "as_html": written(html_escape),
    "as_url": written(lambda key: quote(key, safe="")),
    "as_base64": written(lambda key: base64.b64encode(key.encode()).decode()),
}
