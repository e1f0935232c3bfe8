"""What a configuration that merely lay in the current directory would do that needs trust.

A repository that somebody cloned must not run a command, get a key, or read a file elsewhere. The file is
judged as it is written. What LLMFAIL_ variables add is the user's own, except that a key from there may only
go to a vendor.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

from llmfail.settings.reading.env_vars import references
from llmfail.settings.reading.find import Origin, Source
from llmfail.settings.reading.plain_values import Finding, Place
from llmfail.settings.schema.scalars import url_parts
from llmfail.settings.schema.types import BASE_URLS

OWNERS: Final[Mapping[str, str]] = {
    "AI21_API_KEY": "api.ai21.com",
    "ANTHROPIC_API_KEY": "api.anthropic.com",
    "DEEPSEEK_API_KEY": "api.deepseek.com",
    "GEMINI_API_KEY": "generativelanguage.googleapis.com",
    "GOOGLE_API_KEY": "generativelanguage.googleapis.com",
    "GROQ_API_KEY": "api.groq.com",
    "MISTRAL_API_KEY": "api.mistral.ai",
    "OPENAI_API_KEY": "api.openai.com",
    "OPENROUTER_API_KEY": "openrouter.ai",
    "TOGETHER_API_KEY": "api.together.ai",
    "XAI_API_KEY": "api.x.ai",
}
"""Which host may get the value of which variable."""
PROJECT: Final = "GOOGLE_CLOUD_PROJECT"
GLOBAL: Final = "aiplatform.googleapis.com"
VERTEX: Final = frozenset({GLOBAL, "aiplatform.us.rep.googleapis.com", "aiplatform.eu.rep.googleapis.com"})
"""Google's hosts for Vertex, apart from the regional ones."""


def objections(source: Source, tree: object, overridden: Collection[Place]) -> tuple[Finding, ...]:
    """What the file would do that needs trust; nothing for a file that somebody chose."""
    if source.origin is not Origin.DIRECTORY or not isinstance(tree, dict):
        return ()
    return (
        *_references(tree),
        *_commands(tree),
        *_files(tree, source.path.parent),
        *_credentials(tree, overridden),
    )


def host_of(provider: Mapping[str, object]) -> str | None:
    """The host that gets a provider's credential, None for anything but https on its usual port."""
    parts = url_parts(_base(provider))
    if parts is None or parts[0] != "https" or parts[2] not in {None, "443"}:
        return None
    return parts[1]


def _base(provider: Mapping[str, object]) -> str:
    """Where a provider is, as it is written or by default."""
    written = provider.get("base_url") or BASE_URLS.get(str(provider.get("api")))
    if written is None and provider.get("api") == "vertex":
        return f"https://{GLOBAL}"
    return str(written)


def is_vertex(host: str | None) -> bool:
    """Google's hosts for Vertex: global, regional (``…-aiplatform``) and multi-regional (``….rep``)."""
    if host in VERTEX:
        return True
    region = (host or "").removesuffix("-aiplatform.googleapis.com")
    return region != host and region.replace("-", "").isalnum()


def _references(tree: Mapping[str, object]) -> Iterator[Finding]:
    for place, text in _texts(tree, ()):
        for variable in references(text):
            if not _may_read(tree, place, variable):
                yield place, _use(tree, place, variable)


def _texts(tree: object, at: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(tree, str):
        yield at, tree
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, child in children:
        yield from _texts(child, (*at, key))


def _may_read(tree: Mapping[str, object], place: Place, variable: str) -> bool:
    match place:
        case ("providers", name, "api_key"):
            host = host_of(_providers(tree)[name])
            return host is not None and OWNERS.get(variable) == host
        case ("providers", name, "project"):
            return variable == PROJECT and _providers(tree)[name].get("api") == "vertex"
        case _:
            return False


def _use(tree: Mapping[str, object], place: Place, variable: str) -> str:
    match place:
        case ("providers", name, "api_key" | "token"):
            owner = OWNERS.get(variable)
            foreign = (
                f"which is not its owner's host ({owner})"
                if owner
                else "although no host is known as its owner"
            )
            where = _destination(_providers(tree)[name], lambda host: host == owner, foreign)
            return f"would send {variable} to {where}"
        case _:
            return f"would use the environment variable {variable} where none belongs"


def _destination(provider: Mapping[str, object], owns: Callable[[str], bool], foreign: str) -> str:
    """Host and port that would get a credential, and what is wrong with them."""
    parts = url_parts(_base(provider))
    if parts is None:
        return "a host that is not its owner's"
    scheme, host, port, _ = parts
    shown = f"{host}:{port}" if port else host
    if not owns(host):
        return f"{shown}, {foreign}"
    if scheme != "https":
        return f"{scheme}://{shown}, which is not https: it could be read on the way"
    return f"{shown}, whose port is not the usual 443" if port not in {None, "443"} else shown


def _providers(tree: Mapping[str, object]) -> dict[str | int, dict[str, object]]:
    found = tree.get("providers")
    entries = found.items() if isinstance(found, dict) else ()
    return {name: entry for name, entry in entries if isinstance(entry, dict)}


def _steps(tree: Mapping[str, object]) -> Iterator[tuple[Place, Mapping[str, object]]]:
    for name, feature in _features(tree):
        steps = feature.get("degrade")
        for index, step in enumerate(steps if isinstance(steps, list) else ()):
            if isinstance(step, dict):
                yield ("features", name, "degrade", index), step


def _features(tree: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, object]]]:
    found = tree.get("features")
    for name, feature in found.items() if isinstance(found, dict) else ():
        if isinstance(feature, dict):
            yield name, feature


def _commands(tree: Mapping[str, object]) -> Iterator[Finding]:
    for place, step in _steps(tree):
        if "command" in step:
            yield place, "would run a command"


def _files(tree: Mapping[str, object], directory: Path) -> Iterator[Finding]:
    """A schema goes to the provider, so a schema elsewhere would be a way to send any JSON file."""
    for name, feature in _features(tree):
        expect = feature.get("expect")
        schema = expect.get("schema") if isinstance(expect, dict) else None
        if isinstance(schema, str) and not _is_inside(directory / schema, directory):
            yield ("features", name, "expect", "schema"), "would read a file outside its directory"


def _is_inside(path: Path, directory: Path) -> bool:
    try:
        return path.resolve().is_relative_to(directory.resolve())
    except (OSError, ValueError, RuntimeError):
        return False


def _credentials(tree: Mapping[str, object], overridden: Collection[Place]) -> Iterator[Finding]:
    """Credentials that are not in the file, but would go where the file says."""
    vendors = frozenset(OWNERS.values())
    for name, provider in _providers(tree).items():
        here: Place = ("providers", name)
        host = host_of(provider)
        may_be_vertex = provider.get("api") == "vertex" or (
            (*here, "api") in overridden and provider.get("base_url")
        )
        if may_be_vertex and not is_vertex(host):
            where = _destination(provider, is_vertex, "which is none of Google's hosts for Vertex")
            yield (*here, "base_url"), f"would send a Google token to {where}"
        elif not is_vertex(host) and host not in vendors and (*here, "base_url") not in overridden:
            where = _destination(provider, vendors.__contains__, "which is no vendor's host")
            for key in ("api_key", "token"):
                if (*here, key) in overridden:
                    yield (*here, key), f"would send a key of yours to {where}"
