"""Which targets are known: any number of names may be invented, and no list of them grows for ever."""

from llmfail.core.records.known_targets import MAX_KNOWN_TARGETS, TargetNames, add_target
from llmfail.core.records.record import NameSet, dump, load


def test_beyond_so_many_the_oldest_is_forgotten():
    known = TargetNames()
    for number in range(MAX_KNOWN_TARGETS + 5):
        known = add_target(known, f"p/{number}")
    assert len(known.names) == MAX_KNOWN_TARGETS
    assert (known.names[0], known.names[-1]) == ("p/5", f"p/{MAX_KNOWN_TARGETS + 4}")


def test_a_name_that_is_known_changes_nothing():
    known = TargetNames(("p/a", "p/b"))
    assert add_target(known, "p/a") is known


def test_what_earlier_versions_wrote_is_read():
    assert set(load(dump(NameSet(frozenset({"p/a", "p/b"}))), TargetNames).names) == {"p/a", "p/b"}
