"""Lists are read when they are asked for; refreshed ones count while they are newer and whole."""

import json
import os
from datetime import date
from pathlib import Path

import pytest
from price_list_samples import FUTURE, PAST, read_json_files, write_refreshed_list

from llmfail.core.pricing.catalogue import ModelFacts
from llmfail.core.vendors import PRICE_LISTS
from llmfail.prices import Catalogue
from llmfail.prices.catalogue_file import INDEX_FILE, PACKAGED_DIRECTORY, read_price_list

CLAUDE = ("anthropic", "claude-sonnet-5-5")
PACKAGED_PRICE, REFRESHED_PRICE = 2_000_000, 7_000_000


def price(catalogue, provider="anthropic", model="claude-sonnet-5-5"):
    return catalogue.find(provider, model).entry.periods[0].input.base


def test_the_package_has_a_list_of_every_provider_all_of_one_day():
    index = json.loads((PACKAGED_DIRECTORY / INDEX_FILE).read_bytes())
    assert sorted(index["providers"]) == sorted(PRICE_LISTS)
    assert {read_price_list(PACKAGED_DIRECTORY, name).as_of.isoformat() for name in PRICE_LISTS} == {
        index["as_of"]
    }
    assert set(index["sources"]) == {"genai-prices", "litellm"}


def test_nobody_s_list_is_empty():
    catalogue = Catalogue()
    assert catalogue.find("nobody", "gpt-5") is None
    assert catalogue.find_facts("nobody", "gpt-5") == ModelFacts()
    assert catalogue.find("../data", "gpt-5") is None


def test_a_newer_list_counts(tmp_path):
    write_refreshed_list(tmp_path, FUTURE)
    catalogue = Catalogue(tmp_path, pytest.fail)
    assert catalogue.as_of == FUTURE
    assert price(catalogue) == REFRESHED_PRICE
    assert catalogue.find(*CLAUDE).as_of == FUTURE


@pytest.mark.parametrize("day", [PAST, date(2026, 11, 9)])
def test_a_list_that_is_no_newer_does_not_count(tmp_path, day):
    write_refreshed_list(tmp_path, day)
    catalogue = Catalogue(tmp_path, pytest.fail)
    assert catalogue.as_of == date(2026, 11, 9)
    assert price(catalogue) == PACKAGED_PRICE


def test_a_provider_that_the_newer_list_leaves_out_stays_as_it_was(tmp_path):
    write_refreshed_list(tmp_path, FUTURE)
    found = Catalogue(tmp_path, pytest.fail).find("openai", "gpt-6.1-terra")
    assert found.entry.periods[0].input.base == 1_000_000
    assert found.as_of == date(2026, 11, 9)


def test_no_refreshed_list_is_no_news(tmp_path):
    assert price(Catalogue(tmp_path / "nothing", pytest.fail)) == PACKAGED_PRICE


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b'{"as_of": "soon"}', b'{"models": [{}]}']
)
@pytest.mark.parametrize("name", [INDEX_FILE, "anthropic.json"])
def test_a_damaged_list_does_not_count_and_is_told_once(tmp_path, name, content):
    write_refreshed_list(tmp_path, FUTURE)
    (tmp_path / name).write_bytes(content)
    said = []
    catalogue = Catalogue(tmp_path, said.append)
    assert price(catalogue) == PACKAGED_PRICE
    assert catalogue.find(*CLAUDE) is not None
    assert len(said) == 1
    assert "damaged" in said[0]
    assert "llmfail prices refresh" in said[0]


def test_a_list_that_is_damaged_inside_does_not_count(tmp_path):
    write_refreshed_list(tmp_path, FUTURE)
    document = json.loads((tmp_path / "anthropic.json").read_bytes())
    for models, places in (([{"id": 5}], {"claude-sonnet-5-5": 0}), ([], {"claude-sonnet-5-5": 0})):
        (tmp_path / "anthropic.json").write_text(json.dumps(document | {"models": models, "names": places}))
        said = []
        assert price(Catalogue(tmp_path, said.append)) == PACKAGED_PRICE
        assert len(said) == 1


def test_a_list_that_is_gone_does_not_count(tmp_path):
    write_refreshed_list(tmp_path, FUTURE)
    (tmp_path / "anthropic.json").unlink()
    said = []
    assert price(Catalogue(tmp_path, said.append)) == PACKAGED_PRICE
    assert len(said) == 1


def test_looking_writes_nothing(tmp_path):
    write_refreshed_list(tmp_path, FUTURE)
    before = read_json_files(tmp_path)
    price(Catalogue(tmp_path))
    assert read_json_files(tmp_path) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_d3_prices_that_another_user_has_put_there_do_not_count(tmp_path):
    write_refreshed_list(tmp_path, FUTURE)
    os.chown(tmp_path / "index.json", 65533, 65533)
    warnings = []
    assert Catalogue(tmp_path, warnings.append).as_of != FUTURE
    assert warnings == []


def test_d8_a_directory_that_nobody_lets_us_search_has_no_prices_and_no_warning(monkeypatch):
    def refuse(_path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    warnings = []
    assert Catalogue(Path("/home/other/prices"), warnings.append).as_of
    assert warnings == []
