"""The golden data sets that ship with llmfail, asked of the simulator through the example configuration."""

import pytest
from program import KEYS, Program

from llmfail.cli.run.dataset_reading import SHIPPED_DIRECTORY, read_golden_lines
from llmfail.core.evaluation.answer_check import check_answer

CV_ANSWER = (
    "Dear hello: Ann Miller of York, baker at Rye & Co in Leeds, 2015 to 2024, diploma 2014, 30 %. Guten Tag"
)
GOOD = {
    "vpr": {"json": '{"name": "Ann Miller", "years_as_head_baker": 9}', "no_invention": "Unknown."},
    "gap_analysis": {
        "missing": "French",
        "team": "She led 6.",
        "questions": "Why?\nHow?\nWhen?",
        "json": '```json\n{"gaps": ["French"]}\n```',
    },
    "interview_prep": {"five": "1. a 2. b 3. c 4. d 5. e", "json": '{"questions": ["a", "b", "c"]}'},
    "company_research": {
        "industry": "Bakery",
        "shops": "nine",
        "unknown": "Unknown",
        "json": '{"city": "Leeds", "name": "Rye & Co"}',
    },
    "pii_detection": {
        "email": "yes",
        "none": "no",
        "phone": "yes",
        "count": "2",
        "json": '["ann@example.org", "bob@example.com"]',
    },
    "fvs_validation": {
        "true": '{"verdict": "allow"}',
        "false": '{"verdict": "deny"}',
        "unsaid": '{"verdict": "deny"}',
        "sum": '{"verdict": "allow"}',
    },
}
"""What a good model says, where it is not ``CV_ANSWER``."""
FEATURES = sorted(file.stem for file in SHIPPED_DIRECTORY.glob("*.jsonl"))


def lines_of(feature):
    return read_golden_lines(SHIPPED_DIRECTORY / f"{feature}.jsonl")


def good_answer(feature, ref):
    return GOOD.get(feature, {}).get(ref, CV_ANSWER)


def test_there_is_one_for_each_of_the_eight_features():
    assert FEATURES == [
        "company_research",
        "cover_letter",
        "cv_tailoring",
        "fvs_validation",
        "gap_analysis",
        "interview_prep",
        "pii_detection",
        "vpr",
    ]


@pytest.mark.parametrize("feature", FEATURES)
def test_a_good_answer_passes_each_line_and_an_empty_one_none(feature):
    for line in lines_of(feature):
        check = line.golden.check
        assert check_answer(check, good_answer(feature, line.ref)).violation is None, line.ref
        assert check_answer(check, "I am sorry.").violation is not None, line.ref


def test_they_are_evaluated_by_the_name_of_the_feature(simulator, here):
    urls = {
        f"LLMFAIL_PROVIDERS__{name.upper()}__BASE_URL": simulator.base_url(name)
        for name in ("anthropic", "openai", "google")
    }
    answers = {
        line.fields["prompt"]: (feature, line.ref) for feature in FEATURES for line in lines_of(feature)
    }

    def answer(seen):
        good = good_answer(*answers[seen.prompt])
        return "I am sorry." if str(seen.target).startswith("google/") else good

    simulator.set_answer(answer)
    llmfail = Program(here, urls | KEYS)
    for feature in FEATURES:
        ran = llmfail("eval", "-f", feature, "--json")
        assert ran.code == 0, ran.err
        for target, report in ran.document["targets"].items():
            assert report["pass_rate"] == (0.0 if target.startswith("google/") else 1.0), (feature, report)
    missing = llmfail("eval", "-f", "default")
    assert (missing.code, "pii_detection" in missing.err) == (2, True)
