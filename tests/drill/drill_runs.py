"""Configurations for the drill, in this process and through the real command."""

import os
from pathlib import Path

from forked_program import run_llmfail

from llmfail.drill import runner
from llmfail.drill.verdict import judge_features
from llmfail.settings import load

CONFIG_HEAD = """
version: 1
breaker: {failure_threshold: 3, success_threshold: 2, recovery_timeout: 10s, half_open_limit: 1}
defaults: {retries: 0, timeout: 8s, deadline: 60s}
providers:
  a: {api: anthropic, base_url: https://a.example, api_key: sk-secret-of-a}
  b: {api: openai, base_url: https://b.example/v1, api_key: sk-secret-of-b}
  c: {api: gemini, base_url: https://c.example, api_key: "${KEY_OF_C}"}
  twin: {api: openai, base_url: https://a.example/v1, api_key: none}
  v: {api: vertex, project: "${PROJECT_OF_V:-}"}
"""
SECRETS = ("sk-secret-of-a", "sk-secret-of-b")


def write_config(directory, features, *, head=CONFIG_HEAD, more=""):
    """A configuration file with these features: a mapping from names to flow mappings."""
    lines = "".join(f"  {name}: {text}\n" for name, text in features.items())
    path = directory / "drill.yaml"
    path.write_text(f"{head}\n{more}\nfeatures:\n{lines}")
    return path


def load_settings(directory, features, **options):
    return load(write_config(directory, features, **options), os.environ, directory, Path("nowhere"))


def run_drill(directory, features, *scenes, **options):
    """What the scenes of these features showed, by feature and scene."""
    read = load_settings(directory, features, **options)
    wanted = runner.select_scenarios(scenes)
    played = runner.run_scenarios(read, runner.select_features(read, ()), wanted)
    return {(scene.feature, scene.name): scene for scene in played}


def run_one_scenario(directory, feature, scene, **options):
    """What one scene of one feature showed."""
    return run_drill(directory, {"f": feature}, scene, **options)["f", scene]


def judge_drill(directory, feature, *scenes, **options):
    return judge_features(run_drill(directory, {"f": feature}, *scenes, **options).values())[0]


def count_sent_requests(scene):
    return {str(target): count for target, count in scene.requests.items()}


def run_command(*arguments, environ=None):
    """The real command, as a process."""
    return run_llmfail(*arguments, env={**os.environ, **(environ or {})})
