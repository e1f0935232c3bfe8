"""YAML and environment -> validated, frozen Settings."""

from llmfail.settings.find import Origin, Source
from llmfail.settings.load import load
from llmfail.settings.settings import Settings, UnknownName

__all__ = ["Origin", "Settings", "Source", "UnknownName", "load"]
