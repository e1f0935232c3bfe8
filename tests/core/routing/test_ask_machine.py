"""Whatever order events come in, and wherever an ask is interrupted, its rules hold.

The rules are asserted by ``ask_orders.World`` after every event: the text of one target at most is shown,
every admission is settled once, no more hedges run than are allowed, no call outlives the deadline, no lease
is left, and the trail has every call once.
"""

import random

from ask_orders import World, replay
from hypothesis import given, settings
from hypothesis import strategies as st

ORDERS = 10_000


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_the_rules_of_an_ask_hold_in_every_order_of_events(data):
    World(lambda options: data.draw(st.sampled_from(options))).run()


@settings(max_examples=200, deadline=None)
@given(st.data(), st.integers(1, 40))
def test_an_ask_that_is_interrupted_anywhere_leaves_nothing_behind(data, place):
    World(lambda options: data.draw(st.sampled_from(options))).run(interrupt_after=place)


def test_the_rules_hold_in_ten_thousand_random_orders_and_each_can_be_replayed():
    for seed in range(ORDERS):
        chance = random.Random(seed)
        world = World(chance.choice).run(chance.choice([None, None, chance.randrange(1, 40)]))
        if seed % 10 == 0:
            assert replay(world.plan, world.log) == (world.state, world.commands)
