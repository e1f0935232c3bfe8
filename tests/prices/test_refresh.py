"""A newer list through genai-prices, from a server on loopback; or nothing has happened."""

import threading
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from price_list_samples import (
    FUTURE,
    PAST,
    SONNET,
    build_published_list,
    encode_document,
    read_json_files,
    write_refreshed_list,
)

from llmfail.core.errors import UsageError
from llmfail.prices import Catalogue
from llmfail.prices.refresh import PriceSourceError, refresh, refresh_offline

TODAY = date(2026, 11, 21)


@contextmanager
def source(body, status=200):
    """A server that says this to everybody; its address."""

    class Source(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Source) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/data.json"
        finally:
            server.shutdown()
            thread.join()


def refreshed(directory, document, today=TODAY):
    with source(encode_document(document)) as url:
        return refresh(directory, url, today)


def test_what_was_fetched_counts_from_then_on(tmp_path):
    directory = tmp_path / "state" / "prices"
    done = refreshed(directory, build_published_list())
    assert (done.models, done.kept_as_of, done.index.as_of) == (1, None, TODAY)
    catalogue = Catalogue(directory, pytest.fail)
    assert catalogue.as_of == TODAY
    found = catalogue.find("anthropic", "claude-sonnet-5.5-latest")
    assert found.entry.periods[0].input.base == 7_000_000
    assert found.entry.periods[0].output.base == 8_500_000
    assert directory.stat().st_mode & 0o777 == 0o700


def test_what_the_source_does_not_know_stays(tmp_path):
    refreshed(tmp_path, build_published_list())
    catalogue = Catalogue(tmp_path, pytest.fail)
    facts = catalogue.find_facts("anthropic", "claude-sonnet-5-5")
    assert (facts.context, facts.max_output) == (1_000_000, 128_000)
    assert catalogue.find("openai", "gpt-6.1-terra") is not None
    assert catalogue.find("ai21", "jamba-large-1.7") is not None


def test_a_second_refresh_replaces_the_first(tmp_path):
    refreshed(tmp_path, build_published_list())
    cheaper = SONNET | {"prices": {"input_mtok": 1, "output_mtok": 1}}
    refreshed(tmp_path, build_published_list(cheaper), date(2026, 11, 22))
    catalogue = Catalogue(tmp_path, pytest.fail)
    assert catalogue.as_of == date(2026, 11, 22)
    assert catalogue.find("anthropic", "claude-sonnet-5-5").entry.periods[0].input.base == 1_000_000
    assert not list(tmp_path.glob(".new-*"))


def test_a_damaged_list_is_mended(tmp_path):
    write_refreshed_list(tmp_path, FUTURE)
    (tmp_path / "index.json").write_text("{")
    refreshed(tmp_path, build_published_list())
    assert Catalogue(tmp_path, pytest.fail).as_of == TODAY


NO_LISTS = {
    "not JSON": (b"<html>", 200, "Expecting value"),
    "nothing": (b"", 200, "Expecting value"),
    "an object": (b"{}", 200, "provider array"),
    "no provider": (b"[]", 200, "no prices of a provider that llmfail knows"),
    "another form": (b'[{"id": 5}]', 200, "validation error"),
    "nobody that is known": (
        encode_document(build_published_list(provider="nobody")),
        200,
        "no prices of a provider",
    ),
    "a model without prices": (
        encode_document(build_published_list(SONNET | {"prices": {"audio_hours": 1}})),
        200,
        "no prices of a provider",
    ),
    "a price below nothing": (
        encode_document(build_published_list(SONNET | {"prices": {"input_mtok": -1}})),
        200,
        "a price of anthropic/claude-sonnet-5-5 cannot be true",
    ),
    "a price beyond all": (
        encode_document(build_published_list(SONNET | {"prices": {"input_mtok": 1, "output_mtok": "1e9"}})),
        200,
        "cannot be true",
    ),
    "no number": (
        encode_document(build_published_list(SONNET | {"prices": {"input_mtok": "NaN"}})),
        200,
        "no prices from",
    ),
    "no expression": (
        encode_document(build_published_list(SONNET | {"match": {"regex": "("}})),
        200,
        "unterminated",
    ),
    "gone": (encode_document(build_published_list()), 404, "it answered 404"),
    "out of order": (encode_document(build_published_list()), 500, "it answered 500"),
    "elsewhere": (b"", 302, "it answered 302"),
}


@pytest.mark.parametrize(("body", "status", "why"), NO_LISTS.values(), ids=NO_LISTS)
def test_a_source_without_prices_changes_nothing(tmp_path, body, status, why):
    write_refreshed_list(tmp_path, FUTURE)
    before = read_json_files(tmp_path)
    with source(body, status) as url, pytest.raises(PriceSourceError, match=why) as caught:
        refresh(tmp_path, url, date(2027, 4, 1))
    assert read_json_files(tmp_path) == before
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_source_that_is_not_there_changes_nothing(tmp_path):
    with source(b"") as url:
        pass
    with pytest.raises(PriceSourceError, match="nothing has changed"):
        refresh(tmp_path / "prices", url, TODAY)
    assert not (tmp_path / "prices").exists()


def test_nothing_that_may_be_secret_in_an_address_is_told(tmp_path):
    with source(encode_document(build_published_list())) as url:
        secret = url.replace("127", "me:hush@127", 1) + "?key=hush"
        done = refresh(tmp_path, secret, TODAY)
    assert done.index.sources == {"genai-prices": url}
    with pytest.raises(PriceSourceError) as caught:
        refresh(tmp_path, secret, TODAY)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["ftp://example.org/x", "data.json", "file:///etc/passwd", "http://[x", "http://x:99999/", "http:///x"],
)
def test_an_address_is_of_the_web(tmp_path, url):
    with pytest.raises(UsageError, match="https"):
        refresh(tmp_path, url, TODAY)


def test_a_place_that_takes_nothing_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        refreshed(tmp_path / "file" / "prices", build_published_list())


@pytest.mark.parametrize("today", [PAST, date(2026, 11, 9)])
def test_what_is_not_newer_than_the_package_is_not_kept(tmp_path, today):
    done = refreshed(tmp_path / "prices", build_published_list(), today)
    assert done.kept_as_of == date(2026, 11, 9)
    assert not (tmp_path / "prices").exists()


def test_the_installed_package_is_a_source_without_a_network(tmp_path):
    done = refresh_offline(tmp_path / "prices", TODAY)
    assert done.index.as_of == done.kept_as_of == date(2026, 11, 9)
    assert done.models > 1000
    later = refresh_offline(tmp_path / "prices", date(2026, 12, 24))
    assert (later.index.as_of, later.kept_as_of) == (date(2026, 12, 1), None)
    assert Catalogue(tmp_path / "prices", pytest.fail).as_of == date(2026, 12, 1)


def test_an_older_package_does_not_undo_a_refresh(tmp_path):
    write_refreshed_list(tmp_path, FUTURE)
    before = read_json_files(tmp_path)
    assert refresh_offline(tmp_path, date(2026, 12, 24)).kept_as_of == FUTURE
    assert read_json_files(tmp_path) == before
