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
KEY_REPLIES = {}
"""How to repeat a key, by name: ``(key, api) -> the whole reply, as bytes``."""


class KeyEchoProvider:
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
                    connection.sendall(self._reply(_read_request(connection)))

    def _reply(self, request):
        head = request.partition(END)[0].decode("latin-1")
        _, manner, api, *_ = head.split(" ")[1].split("/")
        if manner == "elsewhere":
            self.redirected += 1
            return build_reply("200 OK", "{}")
        key = _find_key(head)
        self.keys.append(key)
        return KEY_REPLIES[manner](key, api)


def _read_request(connection):
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


def _find_key(head):
    headers = {
        name.lower(): text.strip() for name, _, text in (row.partition(":") for row in head.split("\r\n"))
    }
    bearer = headers.get("authorization", "").removeprefix("Bearer ")
    return headers.get("x-api-key") or headers.get("x-goog-api-key") or bearer


def build_reply(status, body, *headers):
    body = body if isinstance(body, bytes) else body.encode()
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", "connection: close", *headers]
    return "\r\n".join(lines).encode("latin-1") + END + body


def _register_reply(function):
    KEY_REPLIES[function.__name__] = function
    return function


def build_completion(api, text, *, model="m", finish=None):
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


def build_error(api, status, key, *, code=None):
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


@_register_reply
def answer(key, api):
    text = f"Your key is {key}, and here it is once more: {key}"
    return build_reply(
        "200 OK", json.dumps(build_completion(api, text)), JSON, f"request-id: {key}", f"x-note: {key}"
    )


@_register_reply
def model(key, api):
    return build_reply("200 OK", json.dumps(build_completion(api, "Hello", model=f"model-{key}")), JSON)


@_register_reply
def finish(key, api):
    return build_reply("200 OK", json.dumps(build_completion(api, "Hello", finish=key)), JSON)


@_register_reply
def finish_without_text(key, api):
    return build_reply("200 OK", json.dumps(build_completion(api, "", finish=key)), JSON)


@_register_reply
def error_in_200(key, api):
    return build_reply("200 OK", json.dumps(build_error(api, 500, key)), JSON)


@_register_reply
def not_json(key, _api):
    return build_reply("200 OK", f'{{"half": "{key}', JSON)


@_register_reply
def wrong_types(key, _api):
    body = {"choices": key, "content": key, "candidates": key, "model": [key], "usage": key, key: key}
    return build_reply("200 OK", json.dumps(body), JSON)


@_register_reply
def html(key, _api):
    page = f"<html><head><title>Bad {key}</title></head><body>{key}</body></html>"
    return build_reply("502 Bad Gateway", page, "content-type: text/html")


@_register_reply
def plain_text(key, _api):
    return build_reply(
        f"500 {key}", f"Failed with {key}\n{key}", "content-type: text/plain", f"retry-after: {key}"
    )


@_register_reply
def status_line(key, _api):
    return f"HTTP/1.1 {key} {key}\r\n\r\n".encode()


@_register_reply
def not_http(key, _api):
    return f"{key}\r\n{key}\r\n\r\n".encode()


@_register_reply
def header_line(key, _api):
    return b"HTTP/1.1 200 OK\r\n" + f"{key} {key}\r\n\r\n".encode()


@_register_reply
def redirect(key, _api):
    return build_reply("307 Temporary Redirect", key, f"location: /elsewhere/{key}/?key={key}")


@_register_reply
def redirect_escaped(key, _api):
    return build_reply("302 Found", key, f"location: /elsewhere/{quote(key, safe='')}/x")


@_register_reply
def message_400(key, api):
    return build_reply("400 Bad Request", json.dumps(build_error(api, 400, key)), JSON)


@_register_reply
def message_401(key, api):
    return build_reply(
        "401 Unauthorized", json.dumps(build_error(api, 401, key)), JSON, f"www-authenticate: {key}"
    )


@_register_reply
def message_403(key, api):
    return build_reply("403 Forbidden", json.dumps(build_error(api, 403, key)), JSON)


@_register_reply
def message_404(key, api):
    return build_reply("404 Not Found", json.dumps(build_error(api, 404, key)), JSON)


@_register_reply
def message_429(key, api):
    return build_reply("429 Too Many", json.dumps(build_error(api, 429, key)), JSON, f"retry-after: 30 {key}")


@_register_reply
def message_500(key, api):
    return build_reply("500 Oops", json.dumps(build_error(api, 500, key)), JSON)


@_register_reply
def billing(key, api):
    return build_reply("402 Pay", json.dumps(build_error(api, 402, key, code="insufficient_quota")), JSON)


@_register_reply
def bare_words(key, _api):
    return build_reply(
        "503 Away", json.dumps({"error": key, "message": key, "detail": [{"loc": [key], "msg": key}]}), JSON
    )


@_register_reply
def cut_at_its_end(key, _api):
    """So much text before it that a note would end in the middle of the key."""
    texts = {"error": {"message": "x" * 185 + key + "y" * 100, "code": None}}
    return build_reply("500 Oops", json.dumps(texts), JSON)


@_register_reply
def taken_apart(key, _api):
    """With characters between its letters that are not shown."""
    apart = "\u200b".join(key)
    split = key[:9] + "\x1b[0m" + key[9:]
    return build_reply(
        "500 Oops", json.dumps({"error": {"message": f"{apart} {split} {key[:9]}\x00{key[9:]}"}}), JSON
    )


def build_written_reply(form):
    """An error with the key as another program writes it down."""

    def manner(key, api):
        return build_reply("500 Oops", json.dumps(build_error(api, 500, form(key))), JSON)

    return manner


KEY_REPLIES |= {
    "as_json": build_written_reply(json.dumps),
    "as_python": build_written_reply(repr),
    "as_html": build_written_reply(html_escape),
    "as_url": build_written_reply(lambda key: quote(key, safe="")),
    "as_base64": build_written_reply(lambda key: base64.b64encode(key.encode()).decode()),
}
