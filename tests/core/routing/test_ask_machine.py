"""Whatever order events come in, and wherever an ask is interrupted, its rules hold.

The rules are asserted by ``ask_orders.World`` after every event: the text of one target at most is shown,
every admission is settled once, no more hedges run than are allowed, no call outlives the deadline, no lease
is left, and the trail has every call once.
"""

import random
import re
from collections import defaultdict
from pathlib import Path

import pytest
from ask_orders import World, replay
from hypothesis import given, settings
from hypothesis import strategies as st

ORDERS = 10_000
DIAGRAMS = Path(__file__).parents[3] / "docs" / "ask-machine.md"
ARROW = re.compile(r"^    (\S+) --> (\w+) : (.+)$", re.MULTILINE)


def random_order(seed):
    chance = random.Random(seed)
    world = World(chance.choice)
    return world.run(chance.choice([None, None, chance.randrange(1, 40)]))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_the_rules_of_an_ask_hold_in_every_order_of_events(data):
    World(lambda options: data.draw(st.sampled_from(options))).run()


@settings(max_examples=200, deadline=None)
@given(st.data(), st.integers(1, 40))
def test_an_ask_that_is_interrupted_anywhere_leaves_nothing_behind(data, place):
    World(lambda options: data.draw(st.sampled_from(options))).run(interrupt_after=place)


@pytest.fixture(scope="module")
def observed():
    """The transitions of ten thousand random orders, in each of which every rule was asserted."""
    found = {"stages": defaultdict(set), "phases": defaultdict(set)}
    for seed in range(ORDERS):
        for kind, transitions in random_order(seed).transitions.items():
            for before, after, event in transitions:
                found[kind][before, after].add(event)
    return found


@pytest.mark.parametrize(("kind", "place"), [("stages", 0), ("phases", 1)])
def test_the_diagrams_show_what_ten_thousand_random_orders_bring_about(observed, kind, place):
    diagram = DIAGRAMS.read_text().split("```mermaid")[place + 1].split("```")[0]
    drawn = {(before, after): set(events.split(", ")) for before, after, events in ARROW.findall(diagram)}
    assert drawn.keys() == observed[kind].keys()
    for pair, events in observed[kind].items():
        assert events <= drawn[pair], pair


@pytest.mark.parametrize("seed", range(300))
def test_the_same_events_give_the_same_ask_again(seed):
    world = random_order(seed)
    assert replay(world.plan, world.log) == (world.state, world.commands)
