"""What an experiment says of its arms, and that looking often does not mislead."""

import random

from llmfail.core.evaluation.experiment_report import compare_arms
from llmfail.core.records.arm_counters import ArmCounters, ArmOutcome, count_feedback, count_outcome
from llmfail.core.records.feedback_bucket import MAX_BUCKET_ENTRIES, FeedbackBucket, FeedbackEntry

WEIGHTS = {"a/one": 1.0, "b/one": 1.0}


def outcome(*, fits=True, cost=0.001, hit=False, latency=800):
    return ArmOutcome(is_hit=hit, is_served=bool(fits), fits=fits, cost=cost, latency_ms=latency)


def count(outcomes, scores=()):
    counters = ArmCounters()
    for one in outcomes:
        counters = count_outcome(counters, one)
    for score in scores:
        counters = count_feedback(counters, score, None)
    return counters


def decide(first, second):
    _, (difference,) = compare_arms(WEIGHTS, {"a/one": first, "b/one": second})
    return difference.decision


def test_two_equal_arms_are_told_apart_in_at_most_5_of_100_experiments_however_often_one_looks():
    dice = random.Random(5)
    misled = 0
    for _ in range(60):
        counters = [ArmCounters(), ArmCounters()]
        for number in range(300):
            counters = [count_outcome(one, outcome(fits=dice.random() < 0.8)) for one in counters]
            counters = [count_feedback(one, float(dice.random() < 0.5), None) for one in counters]
            if number % 5 == 0 and decide(*counters) is not None:
                misled += 1
                break
    assert misled <= 3


def test_a_clearly_worse_arm_is_found():
    good, bad = (count([outcome(fits=n % 10 < rate) for n in range(1500)]) for rate in (9, 6))
    assert decide(good, bad) == ("fits", "worse")
    assert decide(bad, good) == ("fits", "better")


def test_feedback_decides_before_the_form_of_answers():
    good = count([outcome(fits=n % 10 < 6) for n in range(1500)], [1.0] * 1500)
    bad = count([outcome(fits=n % 10 < 9) for n in range(1500)], [0.2] * 1500)
    assert decide(good, bad) == ("feedback", "worse")


def test_a_stored_answer_is_counted_and_part_of_no_other_figure():
    found = count([outcome(hit=True), outcome(), outcome(fits=None, latency=None, cost=None)])
    assert (found.asks, found.hits, found.judged, found.served) == (3, 1, 1, 1)
    assert (found.cost.count, found.unpriced, found.latency.count) == (1, 1, 1)


def test_what_is_said_again_replaces_what_was_said():
    found = count_feedback(count([outcome()], [1.0]), 0.0, 1.0)
    assert (found.feedback.count, found.feedback.mean) == (1, 0.0)


def test_a_report_without_any_ask_is_json():
    arms, differences = compare_arms(WEIGHTS, dict.fromkeys(WEIGHTS, ArmCounters()))
    assert arms[0].to_json()["fits"]["rate"] is None
    assert differences[0].to_json()["p_values"]["fits"] is None
    assert differences[0].decision is None


def test_a_bucket_keeps_the_last_and_one_entry_for_each_id():
    bucket = FeedbackBucket()
    for number in range(MAX_BUCKET_ENTRIES + 3):
        bucket = bucket.put(FeedbackEntry(f"id{number}"))
    assert len(bucket.entries) == MAX_BUCKET_ENTRIES
    assert bucket.find("id2") is None
    assert bucket.put(FeedbackEntry("id5", score=1.0)).find("id5").score == 1.0
    assert len(bucket.put(FeedbackEntry("id5", score=1.0)).entries) == MAX_BUCKET_ENTRIES
