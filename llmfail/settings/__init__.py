"""YAML and environment -> validated, frozen Settings."""

from llmfail.settings.reading.find import Origin, Source
from llmfail.settings.reading.load import load
from llmfail.settings.schema.settings import Settings, UnknownName

__all__ = ["Origin", "Settings", "Source", "UnknownName", "load"]
