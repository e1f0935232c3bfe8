"""What a program's ``model`` means, in the order of the rules, and what is said of one that means nothing."""

import pytest

from llmfail.core.model import Target
from llmfail.core.routing.model_name import (
    ModelNames,
    NamedModel,
    UnknownModel,
    list_models,
    resolve_model,
)

TERRA = Target("openai", "gpt-6.1-terra")
NAMES = ModelNames(
    features={"default": "default", "vpr": "vpr", "vpr_generator": "vpr", "openai/odd": "odd", "odd": "odd"},
    providers=frozenset({"openai", "openrouter"}),
    targets=(TERRA, Target("openai", "luna"), Target("openrouter", "luna")),
    models={
        "gpt-4o": TERRA,
        "claude-opus-*": "vpr_generator",
        "claude-*": "default",
        "a?[b]*": "vpr",
    },
)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("vpr", NamedModel("vpr")),
        ("vpr_generator", NamedModel("vpr")),
        ("models/vpr", NamedModel("vpr")),
        ("openai/odd", NamedModel("odd")),
        ("openai/gpt-6.1-terra", NamedModel("default", TERRA)),
        ("openai/any/other", NamedModel("default", Target("openai", "any/other"))),
        ("gpt-4o", NamedModel("default", TERRA)),
        ("claude-opus-5", NamedModel("vpr")),
        ("claude-haiku", NamedModel("default")),
        ("a?[b]x", NamedModel("vpr")),
        ("gpt-6.1-terra", NamedModel("default", TERRA)),
    ],
)
def test_a_name_means_the_first_that_fits(written, meant):
    assert resolve_model(NAMES, written) == meant


@pytest.mark.parametrize(
    "written", ["", "luna", "nowhere/x", "openai/", "openai/ü", "ab[b]x", "VPR", "x" * 5000]
)
def test_any_other_name_is_refused(written):
    with pytest.raises(UnknownModel, match="there is no model") as caught:
        resolve_model(NAMES, written)
    assert len(str(caught.value)) < 300


def test_what_is_near_is_named():
    with pytest.raises(UnknownModel, match=r"there is no model 'vprr'; did you mean vpr"):
        resolve_model(NAMES, "vprr")


def test_a_feature_may_stand_for_every_other_name():
    names = ModelNames({"default": "default", "d": "default"}, unknown="d")
    assert resolve_model(names, "anything") == NamedModel("default")


def test_a_key_of_some_features_gets_these_and_what_the_configuration_gives():
    allowed = frozenset({"vpr"})
    assert list_models(NAMES, allowed) == ("vpr", "vpr_generator")
    assert resolve_model(NAMES, "claude-opus-5", allowed) == NamedModel("vpr")
    for written in ("default", "gpt-4o", "openai/gpt-6.1-terra", "gpt-6.1-terra"):
        with pytest.raises(UnknownModel, match=r"this key may not use .*; (there are: vpr|did you mean)"):
            resolve_model(NAMES, written, allowed)
    assert resolve_model(NAMES, "gpt-4o", frozenset({"default"})) == NamedModel("default", TERRA)


def test_all_that_can_be_written_is_listed():
    listed = ("default", "vpr", "vpr_generator", "openai/odd", "odd", "gpt-4o")
    assert list_models(NAMES) == listed
