"""Days are those of the configuration, not of a process: one limit for a day in all of them."""

import pytest
import yaml
from program import OPENAI, build_config

from llmfail.settings.advice.init_text import find_zone_name

PRICED = {OPENAI: {"price": {"input": 0, "output": 1000}, "context": 100000, "max_output": 5000}}


@pytest.fixture
def budgeted(simulator, configure):
    """Three answers fit into a day."""
    simulator.set_answer(lambda _seen: "one two three four")
    budgets = [{"name": "d", "limit": 0.06, "per": "day"}]
    defaults = {"retries": 0, "max_tokens": 20}
    return configure(build_config(simulator, OPENAI, models=PRICED, budgets=budgets, defaults=defaults))


def test_e6_a_daily_limit_holds_once_whatever_the_zones_of_the_processes(budgeted):
    zones = ("UTC", "Pacific/Kiritimati", "America/Los_Angeles", "Asia/Tokyo")
    elsewhere = [budgeted.with_environ(TZ=zone) for zone in zones]
    codes = [program.ask().code for _ in range(10) for program in elsewhere]
    assert {*codes} == {0, 4}
    spent = {program.status()["budgets"][0]["spent_usd"] for program in elsewhere}
    (figure,) = spent
    assert float(figure) <= 0.06
    totals = {program("usage", "--json").document["total"]["cost_usd"] for program in elsewhere}
    assert totals == {figure}


def test_e6_config_check_says_where_a_budget_has_no_time_zone(budgeted):
    ended = budgeted("config", "check")
    assert ended.code == 0
    assert "the day of budget d begins at midnight UTC" in ended.err


def test_e6_config_init_writes_the_zone_of_the_machine(llmfail, here):
    program = llmfail.with_environ(TZ="Europe/Berlin")
    assert program("config", "init", "--path", "mine.yaml").code == 0
    text = (here / "mine.yaml").read_text()
    assert yaml.safe_load(text)["timezone"] == "Europe/Berlin"
    assert "# whose midnight ends a budget's day" in text


@pytest.mark.parametrize(
    ("variable", "leads_to", "name"),
    [
        ("Asia/Tokyo", "Europe/Berlin", "Asia/Tokyo"),
        (":Asia/Tokyo", None, "Asia/Tokyo"),
        (None, "Europe/Berlin", "Europe/Berlin"),
        ("", "America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires"),
        ("CET-1CEST", "Europe/Berlin", None),
        ("../../etc/passwd", None, None),
        (None, "nowhere/at all", None),
        (None, None, None),
    ],
)
def test_e6_a_zone_is_known_by_a_name_that_everybody_knows(tmp_path, variable, leads_to, name):
    link = tmp_path / "localtime"
    if leads_to is not None:
        link.symlink_to(f"/usr/share/zoneinfo/{leads_to}")
    assert find_zone_name(variable, link) == name
