"""YAML and environment -> validated, frozen Settings."""

from llmfail.settings.reading.find import ConfigSource, Origin
from llmfail.settings.reading.load import load
from llmfail.settings.schema.settings import Settings, UnknownName

__all__ = ["ConfigSource", "Origin", "Settings", "UnknownName", "load"]
