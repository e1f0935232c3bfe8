"""The JSON Schema for editors and the loader agree, because they are made from the same types."""

from __future__ import annotations

import jsonschema
import pytest
import yaml

from llmfail.core.errors import SettingsError
from llmfail.settings.schema.config_schema import build_schema
from llmfail.settings.schema.settings import Settings
from llmfail.settings.schema.shape import (
    ListShape,
    MappingShape,
    OptionalShape,
    StructShape,
    VariantShape,
    shape_of,
)

VALIDATOR = jsonschema.Draft202012Validator(build_schema())

BOTH_ACCEPT = [
    "version: 1",
    "store: redis://localhost/0",
    "cache: {store: redis://localhost/0}\nqueue: {store: disk}",
    "providers: {p: {api: openai, api_key: none, limits: {requests_per_minute: 5}}, q: {api: gemini}}",
    "features: {x: {primary: p/m, fallbacks: [p/n, {target: p/o}]}}\nproviders: {p: {api: openai}}",
    "features: {x: {degrade: [cached, {text: hi}, {command: [a], timeout: 3s}, queue]}}",
    "features: {x: {hedge: p95}, y: {hedge: 2s}, z: {hedge: 2}}",
    "features:\ncache:\nbudgets:\n",
    "budgets: [{name: a, limit: 1.5, per: day, each: user}]",
    "models: {p/m: {price: {input: 1, output: 2}}}\nproviders: {p: {api: openai}}",
    "breaker: {window: 60s, failure_rate: 0.5, enabled: yes}",
    'breaker: {failure_threshold: "${N:-3}"}',
]
BOTH_REFUSE = [
    "cash: {}",
    "cache: {tll: 1}",
    "version: 2",
    "breaker: {failure_threshold: 0}",
    "breaker: {failure_rate: 2}",
    "defaults: {timeout: -1}",
    "defaults: {timeout: 5 weeks}",
    "providers: {p: {}}",
    "providers: {p: {api: cohere}}",
    "providers: {p: {api: openai, base_url: ftp://x}}",
    "providers: {a/b: {api: openai}}",
    "features: {x: {degrade: [sing]}}",
    "features: {x: {degrade: [{text: a, command: [b]}]}}",
    "features: {x: {fallbacks: [{note: hi}]}}",
    "budgets: [{name: a, per: day}]",
    "budgets: {}",
    "features: []",
]


@pytest.mark.parametrize("text", BOTH_ACCEPT)
def test_what_the_loader_accepts_the_schema_accepts(settings_of, text):
    settings_of(text)
    assert list(VALIDATOR.iter_errors(yaml.safe_load(text))) == []


@pytest.mark.parametrize("text", BOTH_REFUSE)
def test_what_the_loader_refuses_the_schema_refuses(settings_of, text):
    with pytest.raises(SettingsError):
        settings_of(text)
    assert not VALIDATOR.is_valid(yaml.safe_load(text))


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(build_schema())


def records(shape, at=()):
    """Every record of the configuration, with a tree that leads to it."""
    match shape:
        case StructShape():
            yield at, shape
            for name, inner in shape.keys.items():
                yield from records(inner, (*at, name))
        case OptionalShape():
            yield from records(shape.shape, at)
        case MappingShape():
            yield from records(shape.item, (*at, "x/x" if at == ("models",) else "x"))
        case ListShape():
            yield from records(shape.item, (*at, 0))
        case VariantShape():
            for record in shape.by_tag.values():
                if record.keys:
                    yield at, record


@pytest.mark.parametrize(("at", "record"), list(records(shape_of(Settings))))
def test_an_unknown_key_is_refused_by_both_wherever_it_stands(settings_of, at, record):
    tag = next(iter(record.keys))
    tree = {tag: None, "zzz": 1}
    for key in reversed(at):
        tree = [tree] if isinstance(key, int) else {key: tree}
    with pytest.raises(SettingsError, match="zzz"):
        settings_of(yaml.safe_dump(tree))
    assert not VALIDATOR.is_valid(tree)
