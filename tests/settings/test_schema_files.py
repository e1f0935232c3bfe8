"""The files that hold JSON Schemas: read, checked, and made into what a feature expects."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from llmfail.core.errors import SettingsError, UsageError
from llmfail.core.request.expectation import Expectation
from llmfail.engine.planning.request_builder import EXPECTED_BY_DEFAULT
from llmfail.settings.reading.cross_checks import check_patterns_and_schemas
from llmfail.settings.reading.find import ConfigSource, Origin
from llmfail.settings.reading.load import validate_tree
from llmfail.settings.reading.schema_files import MAX_SCHEMA_BYTES, load_expectation, load_schema
from llmfail.settings.schema.types import Expect

SCHEMA = b'{"type": "object", "required": ["name"]}'

# id: (what the file holds, the problem)
PROBLEMS = {
    "nothing": (b"", "is not JSON: "),
    "YAML": (b"type: object", "is not JSON: "),
    "a number that is none": (b'{"minimum": NaN}', "is not JSON: "),
    "a number that becomes infinite": (b'{"minimum": 1e400}', "is not JSON: "),
    "half a character": (rb'{"title": "\ud800"}', "is not JSON: "),
    "bytes that are no text": (b'{"title": "\xff"}', "is not JSON: "),
    "a list": (b"[]", "is not a JSON Schema: it must be an object"),
    "true": (b"true", "is not a JSON Schema: it must be an object"),
    "too deep to read": (b"[" * 100_000, "is not a JSON Schema: it is nested too deeply"),
    "too deep to use": (
        b'{"not": ' * 100 + b"{}" + b"}" * 100,
        "is not a JSON Schema: it is nested too deeply",
    ),
    "too large": (b" " * MAX_SCHEMA_BYTES + b"{}", "is too large for a JSON Schema"),
}
FLAWS = {
    "a type that there is not": (b'{"type": "strin"}', "is not a JSON Schema at /type: "),
    "a pattern that is none": (b'{"pattern": "(a"}', "is not a JSON Schema at /pattern: "),
    "a reference elsewhere": (
        b'{"$ref": "other.json"}',
        "is not complete in itself, and nothing is fetched: ",
    ),
    "a reference to nothing": (b'{"$ref": "#/$defs/a"}', "is not complete in itself, "),
}


@pytest.mark.parametrize(("data", "problem"), (PROBLEMS | FLAWS).values(), ids=PROBLEMS | FLAWS)
def test_a_file_that_is_no_schema_is_refused_in_one_line_with_its_name(tmp_path, data, problem):
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(UsageError) as caught:
        load_schema(path)
    assert str(caught.value).startswith(f"{path} {problem}")
    assert str(caught.value).isprintable()


def test_a_schema_may_begin_with_a_byte_order_mark_and_be_as_large_as_allowed(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes((b"\xef\xbb\xbf" + SCHEMA).ljust(MAX_SCHEMA_BYTES))
    assert load_schema(path) == {"type": "object", "required": ["name"]}


def test_what_is_no_plain_file_is_not_even_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name, problem in {
        "pipe": "is not a regular file",
        "/dev/zero": "is not a regular file",
        ".": "is not a regular file",
        "gone.json": "is not there",
        "loop": "is not there",
        "x" * 300: "cannot be read: File name too long",
        "a\0b": "is not there",
    }.items():
        with pytest.raises(UsageError, match=problem):
            load_schema(tmp_path / name)


def test_a_caller_may_have_a_way_of_its_own_to_the_bytes(tmp_path):
    asked = []

    def bytes_of(path, most):
        asked.append((path, most))
        return SCHEMA

    assert load_schema(tmp_path / "x", bytes_of) == {"type": "object", "required": ["name"]}
    assert asked == [(tmp_path / "x", MAX_SCHEMA_BYTES)]


def test_a_feature_that_says_nothing_expects_some_text(tmp_path):
    assert Expectation(nonempty=True) == EXPECTED_BY_DEFAULT
    assert load_expectation(Expect(), tmp_path) == Expectation(nonempty=True)


def test_a_feature_expects_what_it_says(tmp_path):
    (tmp_path / "a.json").write_bytes(SCHEMA)
    expect = Expect(schema="a.json", regex="^{", json=True, nonempty=False, complete=True)
    assert load_expectation(expect, tmp_path) == Expectation(
        nonempty=False,
        complete=True,
        json=True,
        patterns=("^{",),
        schema={"type": "object", "required": ["name"]},
    )


def test_a_schema_that_has_changed_for_the_worse_is_told_before_anybody_is_asked(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"type": "strin"}')
    with pytest.raises(UsageError, match=r"a\.json is not a JSON Schema at /type"):
        load_expectation(Expect(schema="a.json"), tmp_path)


def test_a_pattern_that_only_the_library_refuses_is_told_before_anybody_is_asked(tmp_path):
    with pytest.raises(UsageError, match=r"^expect: regex: .* is not a regular expression: written out"):
        load_expectation(Expect(regex="(?:a{1000}){1000}"), tmp_path)


@pytest.mark.parametrize(("data", "problem"), PROBLEMS.values(), ids=PROBLEMS)
def test_a_configuration_that_names_it_is_refused(settings_of, home, data, problem):
    (home / "a.json").write_bytes(data)
    with pytest.raises(SettingsError, match=r"features\.x\.expect\.schema: 'a\.json' " + problem):
        settings_of("features: {x: {expect: {schema: a.json}}}")


CLOSER = {
    "features": {
        "plain": {},
        "fine": {"expect": {"schema": "fine.json", "regex": "^{"}},
        "large": {"expect": {"regex": "(?:a{1000}){1000}"}},
        "wrong": {"expect": {"schema": "wrong.json"}},
    },
    "rules": {"pii": {"nr": "[0-9]+", "run": "(?:b{1000}){1000}"}},
}


def test_a_closer_look_finds_what_only_the_libraries_tell(home):
    (home / "fine.json").write_bytes(SCHEMA)
    (home / "wrong.json").write_bytes(b'{"type": "strin"}')
    reading = validate_tree(CLOSER, {}, ConfigSource(path=home / "llmfail.yaml", origin=Origin.OPTION))
    assert reading.findings == ()
    found = dict(check_patterns_and_schemas(reading.settings, home))
    assert list(found) == [
        ("features", "large", "expect"),
        ("features", "wrong", "expect"),
        ("rules", "pii", "run"),
    ]
    assert "wrong.json is not a JSON Schema at /type" in found["features", "wrong", "expect"]


def test_a_pattern_that_python_will_read_otherwise_one_day_is_no_noise(settings_of):
    settings_of("rules: {x: {y: '[[a]'}}")


def test_what_runs_at_every_ask_imports_no_judge(home):
    """They take 20 ms."""
    (home / "fine.json").write_bytes(SCHEMA)
    (home / "wrong.json").write_bytes(SCHEMA)
    program = f"""if True:
        import sys
        from pathlib import Path
        from llmfail.settings.reading.find import ConfigSource, Origin
        from llmfail.settings.reading.load import validate_tree
        source = ConfigSource(path=Path.cwd() / "llmfail.yaml", origin=Origin.OPTION)
        assert not validate_tree({CLOSER!r}, {{}}, source).findings
        print(*sorted({{"regex", "jsonschema_rs", "jsonschema"}} & set(sys.modules)))
    """
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "\n"
