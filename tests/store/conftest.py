"""What the tests of stores have in common."""

import pytest
from opened_stores import close_all


@pytest.fixture(autouse=True)
def closed():
    """Every store that was to be closed later is closed after the test."""
    yield
    close_all()
