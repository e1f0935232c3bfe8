"""Ids sort by their time, and no two processes draw the same."""

import re
import subprocess
import sys
import time

from llmfail.engine.ports.ids import _ALPHABET, new_id, random_fraction

FORK = """
import os
from llmfail.engine.ports.ids import new_id

new_id()
read, write = os.pipe()
if not os.fork():
    os.write(write, new_id()[10:].encode())
    os._exit(0)
os.wait()
print(os.read(read, 99).decode(), new_id()[10:])
"""


def test_an_id_is_a_ulid_of_its_moment():
    before = int(time.time() * 1000)
    id_ = new_id()
    assert re.fullmatch("[0-7][0-9A-HJKMNP-TV-Z]{25}", id_)
    at = sum(_ALPHABET.index(digit) * 32**place for place, digit in enumerate(reversed(id_[:10])))
    assert before <= at <= time.time() * 1000


def test_each_id_and_number_is_drawn_once():
    assert len({new_id()[10:] for _ in range(1000)}) == 1000
    numbers = {random_fraction() for _ in range(1000)}
    assert len(numbers) == 1000
    assert 0 <= min(numbers) < 0.1
    assert 0.9 < max(numbers) < 1


def test_a_forked_process_draws_ids_of_its_own():
    found = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True)
    child, parent = found.stdout.split()
    assert child != parent
