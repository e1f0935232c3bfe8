"""What ``store:`` may say."""

import pytest

from llmfail.core.errors import UsageError
from llmfail.store import open_store


@pytest.mark.parametrize("url", ["disk", "memory"])
def test_a_store_is_named_and_nothing_is_touched_before_its_first_verb(tmp_path, url):
    store = open_store(url, tmp_path / "state", 2.0)
    assert store.name == url
    assert not (tmp_path / "state").exists()
    assert store.read(["a"])[0] == {"a": None}
    assert (tmp_path / "state").exists() == (url == "disk")
    store.close()


@pytest.mark.parametrize("url", ["redis://host:6379/0", "rediss://user:secret@host/0"])
def test_redis_is_refused_plainly(tmp_path, url):
    with pytest.raises(UsageError, match="redis is not supported yet; use disk") as raised:
        open_store(url, tmp_path, 2.0)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("url", ["", "Disk", "disk:/x", "sqlite", "postgres://user:secret@host"])
def test_anything_else_is_a_usage_error_that_shows_no_password(tmp_path, url):
    with pytest.raises(UsageError, match="must be disk, memory or redis://") as raised:
        open_store(url, tmp_path, 2.0)
    assert "secret" not in str(raised.value)
