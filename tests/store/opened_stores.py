"""Stores that a test has opened."""

_opened = []


def close_later(store):
    """The store, which is closed after the test."""
    _opened.append(store)
    return store


def close_all():
    while _opened:
        _opened.pop().close()
