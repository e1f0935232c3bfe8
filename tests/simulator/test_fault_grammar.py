"""``--drill FAULTS``: what can be written, what it means, and what is said about the rest."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmfail.core.errors import UsageError
from llmfail.simulator import Fault, FaultKind, Faults, check_names, parse_faults
from llmfail.simulator.faults import HEALTHY

WRITTEN = {
    "503": Fault(FaultKind.STATUS, status=503),
    "529": Fault(FaultKind.STATUS, status=529),
    "503x1": Fault(FaultKind.STATUS, status=503, times=1),
    "429:30": Fault(FaultKind.STATUS, status=429, retry_after=30),
    "429:0.5": Fault(FaultKind.STATUS, status=429, retry_after=0.5),
    "429:30x2": Fault(FaultKind.STATUS, status=429, retry_after=30, times=2),
    "slow:200": Fault(FaultKind.SLOW, delay=0.2),
    "slow:0": Fault(FaultKind.SLOW, delay=0),
    "slow:200x3": Fault(FaultKind.SLOW, delay=0.2, times=3),
    "quota": Fault(FaultKind.QUOTA),
    "billing": Fault(FaultKind.BILLING),
    "auth": Fault(FaultKind.AUTH),
    "hang": Fault(FaultKind.HANG),
    "hangx2": Fault(FaultKind.HANG, times=2),
    "cut": Fault(FaultKind.CUT),
    "garbage": Fault(FaultKind.GARBAGE),
    "empty": Fault(FaultKind.EMPTY),
    "refuse": Fault(FaultKind.REFUSE),
    "refusex12": Fault(FaultKind.REFUSE, times=12),
    "none": HEALTHY,
}


@pytest.mark.parametrize(("text", "fault"), WRITTEN.items())
def test_a_fault_is_read_and_written_back_the_same(text, fault):
    assert parse_faults(f"openai={text}") == Faults({"openai": fault})
    assert str(parse_faults(f"openai={text}")) == f"openai={text}"


@pytest.mark.parametrize("text", ["none", " none "])
def test_none_alone_is_a_healthy_day(text):
    assert parse_faults(text) == Faults()
    assert str(Faults()) == "none"


def test_names_are_providers_targets_or_all_and_spaces_do_not_matter():
    faults = parse_faults("groq/openai/gpt-oss-20b=503, ollama/llama3.2:1b = hangx2 ,all=slow:5")
    assert set(faults.by_name) == {"groq/openai/gpt-oss-20b", "ollama/llama3.2:1b", "all"}
    assert faults.by_name["ollama/llama3.2:1b"] == Fault(FaultKind.HANG, times=2)


@pytest.mark.parametrize(
    ("model", "expected"),
    [("gpt-6.1-terra", FaultKind.HANG), ("gpt-6-luna", FaultKind.CUT), ("", FaultKind.CUT)],
)
def test_a_target_decides_over_its_provider_and_a_provider_over_all(model, expected):
    faults = parse_faults("all=empty,openai=cut,openai/gpt-6.1-terra=hang")
    assert faults.find_fault("openai", model)[1].kind is expected
    assert faults.find_fault("anthropic", model)[1].kind is FaultKind.EMPTY


def test_one_provider_can_be_left_out_of_all():
    faults = parse_faults("all=503,openai=none")
    assert faults.find_fault("openai", "gpt-6.1-terra")[1] == HEALTHY


MALFORMED = [
    "",
    " ",
    ",",
    "503",
    "openai",
    "openai=",
    "=503",
    "openai=hangg",
    "openai=hangx",
    "openai=hangx0",
    "openai=hangx-1",
    "openai=hang x2",
    "openai=HANG",
    "openai=200",
    "openai=302",
    "openai=600",
    "openai=50",
    "openai=5033",
    "openai=429:",
    "openai=429:soon",
    "openai=429:-1",
    "openai=429:1e9",
    "openai=503:30:1",
    "openai=slow",
    "openai=slow:",
    "openai=slow:1.5",
    "openai=slow:3600001",
    "openai=slow:99999999999",
    "openai=nonex2",
    "openai=٥٠٣",
    "openai=503,",
    "openai=503,,anthropic=503",
    "none,openai=503",
    "openai=503 anthropic=503",
]


@pytest.mark.parametrize("text", MALFORMED)
def test_what_cannot_be_read_is_named_with_the_grammar(text):
    with pytest.raises(UsageError, match="cannot read") as caught:
        parse_faults(text)
    message = str(caught.value)
    assert "NAME=FAULT" in message
    assert "slow:MS" in message
    assert "\n" not in message
    assert caught.value.exit_code == 2


def test_the_part_that_is_wrong_is_named_and_the_nearest_word_suggested():
    with pytest.raises(UsageError, match=r"'openai=hnag' \(did you mean hang\?\)"):
        parse_faults("anthropic=503,openai=hnag")


def test_a_name_has_one_fault():
    with pytest.raises(UsageError, match="openai is named twice"):
        parse_faults("openai=503,openai=hang")


KNOWN = ("anthropic", "openai", "openai/gpt-6.1-terra")


@pytest.mark.parametrize("text", ["none", "all=503", "openai=503,openai/gpt-6.1-terra=hang,anthropic=cut"])
def test_known_names_pass(text):
    check_names(parse_faults(text), KNOWN)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("opnai=503", r"called opnai \(did you mean openai\?\)"),
        ("openai/gpt-6.1-tera=503", r"\(did you mean openai/gpt-6.1-terra\?\)"),
        ("all=503,zzz=hang", r"called zzz; use a name of your configuration, or all"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(text, said):
    with pytest.raises(UsageError, match=said):
        check_names(parse_faults(text), KNOWN)


@pytest.mark.parametrize(
    ("text", "refuses"),
    [
        ("openai=refuse", True),
        ("all=refuse", True),
        ("all=refuse,openai=503", False),
        ("openai=refusex1", False),
        ("openai=refuse,openai/gpt-6.1-terra=503", False),
        ("openai/gpt-6.1-terra=refuse", False),
        ("none", False),
    ],
)
def test_nobody_has_to_listen_only_where_every_call_is_refused_for_ever(text, refuses):
    assert parse_faults(text).is_refusing_connections("openai") is refuses


faults = st.builds(
    lambda text, times: f"{text}x{times}" if times else text,
    st.one_of(
        st.sampled_from(["quota", "billing", "auth", "hang", "cut", "garbage", "empty", "refuse"]),
        st.integers(400, 599).map(str),
        st.tuples(st.integers(400, 599), st.integers(0, 10**9 - 1)).map(lambda pair: f"{pair[0]}:{pair[1]}"),
        st.integers(0, 3_600_000).map(lambda ms: f"slow:{ms}"),
    ),
    st.integers(0, 10**9 - 1),
)
names = st.text("abcxyz0123456789-./:", min_size=1)


@given(st.dictionaries(names, faults, min_size=1))
def test_whatever_can_be_written_is_read_and_written_back_the_same(rules):
    text = ",".join(f"{name}={fault}" for name, fault in rules.items())
    assert str(parse_faults(text)) == text


@given(st.text())
def test_any_text_is_either_read_or_refused(text):
    with contextlib.suppress(UsageError):
        assert parse_faults(str(parse_faults(text))) == parse_faults(text)
