"""What ``store:`` may say."""

import pytest

from llmfail.core.errors import UsageError
from llmfail.store import open_store


@pytest.mark.parametrize("url", ["redis://host:6379/0", "rediss://u:p@host/0", "sentinel://a,b/0?master=m"])
def test_a_server_is_not_called_before_the_first_verb(tmp_path, url):
    store = open_store(url, tmp_path / "state", 2.0)
    assert store.name == "redis"
    store.close()
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("url", ["disk", "memory"])
def test_a_store_is_named_and_nothing_is_touched_before_its_first_verb(tmp_path, url):
    store = open_store(url, tmp_path / "state", 2.0)
    assert store.name == url
    assert not (tmp_path / "state").exists()
    assert store.read(["a"])[0] == {"a": None}
    assert (tmp_path / "state").exists() == (url == "disk")
    store.close()


@pytest.mark.parametrize("url", ["", "Disk", "disk:/x", "sqlite", "postgres://user:secret@host"])
def test_anything_else_is_a_usage_error_that_shows_no_password(tmp_path, url):
    with pytest.raises(UsageError, match="must be disk, memory or redis://") as raised:
        open_store(url, tmp_path, 2.0)
    assert "secret" not in str(raised.value)
