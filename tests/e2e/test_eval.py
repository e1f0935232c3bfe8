"""``llmfail eval``: a golden data set on every target of a chain."""

import json
import xml.etree.ElementTree as ET

import pytest
from program import ANTHROPIC, GOOGLE, OPENAI, build_config, finish, wait_until

QUALITY = {OPENAI: 0, ANTHROPIC: 0, GOOGLE: 4}
"""Of ten lines, so many that a target gets wrong."""


@pytest.fixture
def data(tmp_path):
    def write(count=200):
        lines = [{"id": f"q{n}", "prompt": f"{n}", "expect": {"equals": f"right {n}"}} for n in range(count)]
        file = tmp_path / "golden.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return file

    return write


@pytest.fixture
def simulator(simulator):
    """A judge that goes by the place, and targets of known quality."""

    def answer(seen):
        if "<answer_1>" in seen.prompt:
            return "1"
        number = int(seen.prompt)
        return f"wrong {number}" if number % 10 < QUALITY[str(seen.target)] else f"Right   {number}".lower()

    simulator.set_answer(answer)
    return simulator


def test_a_fallback_that_is_worse_is_told_from_one_that_is_as_good(llmfail, data, simulator):
    ran = llmfail("eval", data(), "--json")
    assert ran.code == 0, ran.err
    report = ran.document["targets"]
    assert list(report) == [OPENAI, ANTHROPIC, GOOGLE]
    assert report[OPENAI]["verdict"] is None
    assert report[ANTHROPIC]["verdict"] == "as good"
    assert (report[GOOGLE]["verdict"], report[GOOGLE]["pass_rate"]) == ("worse", 0.6)
    assert report[GOOGLE]["agreement"] == 0.6
    assert report[OPENAI]["normalized_by"] == {"white_space": 200}
    assert simulator.count() == 600
    assert all(one["cost_usd"] is not None for one in report.values())


def test_the_exit_code_is_for_ci(llmfail, data, tmp_path, simulator, monkeypatch):
    lines = data(60)
    assert llmfail("eval", lines, "--min-pass", "0.9").code == 1
    baseline = llmfail("eval", lines, "--json", "-m", ANTHROPIC)
    (tmp_path / "before.json").write_text(json.dumps(baseline.document))
    again = ("eval", lines, "-m", ANTHROPIC, "--baseline", tmp_path / "before.json")
    assert llmfail(*again).code == 0
    monkeypatch.setitem(QUALITY, ANTHROPIC, 3)
    worse = llmfail(*again)
    assert worse.code == 1
    assert "worse than in the baseline" in worse.err


def test_a_judge_that_goes_by_the_place_is_found_out(llmfail, data):
    ran = llmfail("eval", data(20), "-m", OPENAI, "-m", ANTHROPIC, "--judge", GOOGLE, "--json")
    judge = ran.document["targets"][ANTHROPIC]["judge"]
    assert (judge["judged"], judge["chose_first_twice"], judge["place_decides"]) == (20, 20, True)


def test_a_resumed_evaluation_pays_nothing_twice(llmfail, data, tmp_path, simulator):
    lines, receipts = data(50), tmp_path / "receipts.jsonl"
    whole = llmfail("eval", lines, "-o", receipts, "--json")
    kept = receipts.read_bytes().splitlines(keepends=True)
    receipts.write_bytes(b"".join(kept[:70]) + kept[70][:40])  # killed in the middle of a receipt
    before = simulator.count()
    resumed = llmfail("eval", lines, "-o", receipts, "--resume", "--json")
    assert simulator.count() - before == 150 - 70

    def without_times(report):
        return {name: {k: v for k, v in one.items() if "latency" not in k} for name, one in report.items()}

    assert without_times(resumed.document["targets"]) == without_times(whole.document["targets"])


def test_the_table_fits_and_the_files_hold_every_line(llmfail, data, tmp_path):
    junit, page = tmp_path / "j.xml", tmp_path / "d.html"
    ran = llmfail("eval", data(10), "--junit", junit, "--html", page)
    assert max(map(len, ran.out.decode().splitlines())) <= 100, ran.out.decode()
    suites = ET.parse(junit).getroot()
    assert [(one.get("name"), one.get("tests"), one.get("failures")) for one in suites] == [
        (OPENAI, "10", "0"),
        (ANTHROPIC, "10", "0"),
        (GOOGLE, "10", "4"),
    ]
    assert page.read_text().count("<tr>") == 1 + 4


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt": "x", "expect": {"equal": 1}}', "equal"),
        ('{"prompt": "x", "model": "a/b"}', "chosen by the evaluation"),
        ("{", "golden.jsonl, line 1"),
        ('{"prompt": "x"}\n{"prompt": "y", "temprature": 1}', "line 2"),
        ('{"prompt": "x", "temprature": 1}', "temprature"),
        ("", "no lines"),
        ('{"id": 1, "prompt": "x"}\n{"id": 1, "prompt": "y"}', "twice"),
    ],
)
def test_a_data_set_that_is_none_is_refused_before_anybody_is_asked(llmfail, tmp_path, simulator, line, said):
    file = tmp_path / "golden.jsonl"
    file.write_text(line + "\n")
    ran = llmfail("eval", file)
    assert ran.code == 2
    assert said in ran.err
    assert simulator.count() == 0


@pytest.mark.parametrize("option", ["-m", "--judge"])
@pytest.mark.parametrize("name", ["nope/model", "nope", OPENAI.partition("/")[0]])
def test_a_name_of_no_target_is_refused_before_anybody_is_asked(llmfail, data, simulator, option, name):
    ran = llmfail("eval", data(2), option, name)
    assert ran.code == 2
    assert f"'{name.removesuffix('/model')}'" in ran.err
    assert simulator.count() == 0


def test_a_bare_name_of_a_model_is_a_target(llmfail, data):
    ran = llmfail("eval", data(2), "--json", "-m", OPENAI.partition("/")[2])
    assert ran.code == 0, ran.err
    assert list(ran.document["targets"]) == [OPENAI]


def test_an_evaluation_that_nobody_answered_is_no_success(llmfail, data):
    ran = llmfail("eval", data(2), "--max-cost", "0")
    assert ran.code == 3, ran.err


def test_answers_are_compared_by_vectors(simulator, configure, tmp_path):
    document = build_config(simulator)
    document["features"]["search"] = {"primary": "openai/text-embedding-3-small"}
    llmfail = configure(document)
    simulator.set_answer(lambda seen: "Paris" if "openai" in str(seen.target) else "Something else")
    lines = tmp_path / "lines.jsonl"
    lines.write_text(json.dumps({"prompt": "?", "reference": "Paris", "expect": {"similar": 0.99}}))
    asked = ("eval", lines, "--json")
    refused = llmfail(*asked)
    assert (refused.code, "--embed" in refused.err, simulator.count()) == (2, True, 0)
    ran = llmfail(*asked, "--embed", "search")
    assert ran.code == 0, ran.err
    report = ran.document["targets"]
    assert report[OPENAI]["pass_rate"] == 1.0
    assert report[OPENAI]["similarity"] == pytest.approx(1.0)
    assert report[ANTHROPIC]["pass_rate"] == 0.0
    assert report[ANTHROPIC]["similarity_to_primary"] < 0.99
    assert report[ANTHROPIC]["similarity_to_primary"] == report[GOOGLE]["similarity_to_primary"]


def test_a_killed_evaluation_of_500_lines_goes_on_and_pays_nothing_twice(llmfail, data, tmp_path, simulator):
    lines, receipts = data(500), tmp_path / "receipts.jsonl"
    with llmfail.start("eval", lines, "-o", receipts) as process:
        wait_until(lambda: simulator.count() > 300)
        process.kill()
        finish(process)
    told = len(receipts.read_bytes().splitlines())
    asked = simulator.count()
    resumed = llmfail("eval", lines, "-o", receipts, "--resume", "--json")
    assert resumed.code == 0, resumed.err
    under_way = 16  # asked and not written when the process was killed
    assert simulator.count() - asked <= 1500 - told + 1
    assert asked - told <= under_way * 3
    assert all(one["asked"] == 500 for one in resumed.document["targets"].values())
