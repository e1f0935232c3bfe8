"""Results come in the order of the items, never further ahead than there is work for; errors come through."""

import threading
from itertools import count

import pytest

from llmfail.cli.run.ordered_pool import map_in_order


def test_results_come_in_the_order_of_the_items():
    second_is_done = threading.Event()

    def work(item):
        if item == 1:
            assert second_is_done.wait(10)
        if item == 2:
            second_is_done.set()
        return item * 10

    assert list(map_in_order(work, range(5), 2)) == [0, 10, 20, 30, 40]


def test_the_first_goes_alone():
    running, met = [], []

    def work(item):
        running.append(item)
        met.append(len(running))
        if item == 0:
            threading.Event().wait(0.05)
        running.remove(item)

    list(map_in_order(work, range(20), 8))
    assert met[:2] == [1, 1]


def test_it_reads_no_further_ahead_than_there_is_work_for():
    read = []

    def items():
        for item in count():
            read.append(item)
            yield item

    results = map_in_order(lambda item: item, items(), 3)
    for wanted in range(50):
        assert next(results) == wanted
        assert len(read) <= wanted + 1 + 3 + 3
    results.close()


def test_an_error_of_the_work_ends_it_in_its_place():
    results = map_in_order(lambda item: 6 // (3 - item), range(9), 4)
    assert [next(results) for _ in range(3)] == [2, 3, 6]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_an_error_of_the_items_comes_after_the_results_before_it():
    def items():
        yield 1
        raise OSError("torn")

    results = map_in_order(str, items(), 4)
    assert next(results) == "1"
    with pytest.raises(OSError, match="torn"):
        next(results)


def test_nothing_of_nothing():
    assert list(map_in_order(str, [], 4)) == []
