"""The parts of a configuration as it is written, before anything is known of its types. What is not of the
shape that its place has is passed over, because reading the file refuses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llmfail.core.vendors import BASE_URLS, vertex_host
from llmfail.settings.reading.plain_values import Place
from llmfail.settings.schema.scalars import split_url


def providers_of(tree: Mapping[str, object]) -> dict[str | int, dict[str, object]]:
    found = tree.get("providers")
    entries = found.items() if isinstance(found, dict) else ()
    return {name: entry for name, entry in entries if isinstance(entry, dict)}


def steps_of(tree: Mapping[str, object]) -> Iterator[tuple[Place, Mapping[str, object]]]:
    for name, feature in features_of(tree):
        steps = feature.get("degrade")
        for index, step in enumerate(steps if isinstance(steps, list) else ()):
            if isinstance(step, dict):
                yield ("features", name, "degrade", index), step


def features_of(tree: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, object]]]:
    found = tree.get("features")
    for name, feature in found.items() if isinstance(found, dict) else ():
        if isinstance(feature, dict):
            yield name, feature


def templates_of(tree: Mapping[str, object]) -> Iterator[tuple[Place, object]]:
    templates = tree.get("templates")
    for name, text in templates.items() if isinstance(templates, dict) else ():
        yield ("templates", name), text
    for name, feature in features_of(tree):
        yield ("features", name, "template"), feature.get("template")


def alerts_of(tree: Mapping[str, object]) -> Mapping[str, object]:
    alerts = tree.get("alerts")
    return alerts if isinstance(alerts, dict) else {}


def list_stores(tree: Mapping[str, object]) -> Iterator[tuple[Place, object]]:
    """Of the state, the answers and the queue."""
    yield ("store",), tree.get("store")
    for section in ("cache", "queue"):
        found = tree.get(section)
        if isinstance(found, dict):
            yield (section, "store"), found.get("store")


def walk_texts(tree: object, at: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(tree, str):
        yield at, tree
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, child in children:
        yield from walk_texts(child, (*at, key))


def host_of(provider: Mapping[str, object]) -> str | None:
    """The host that gets a provider's credential, None for anything but https on its usual port."""
    parts = split_url(base_url_of(provider))
    if parts is None or parts[0] != "https" or parts[2] not in {None, "443"}:
        return None
    return parts[1]


def base_url_of(provider: Mapping[str, object]) -> str:
    """Where a provider is, as it is written or by default."""
    written = provider.get("base_url") or BASE_URLS.get(str(provider.get("api")))
    if written is None and provider.get("api") == "vertex":
        return f"https://{vertex_host('global')}"
    return str(written)
