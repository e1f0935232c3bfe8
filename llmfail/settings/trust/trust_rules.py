"""What a configuration that merely lay in the current directory would do that needs trust.

A repository that somebody cloned must not run a command, get a key, or read a file elsewhere. The file is
judged as it is written. What LLMFAIL_ variables add is the user's own, except that a key from there may only
go to a vendor.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from llmfail.core.degrade.template import TEMPLATE_FILE_MARK
from llmfail.core.loopback import is_loopback
from llmfail.core.records.state_keys import make_digest
from llmfail.core.vendors import OWNER_HOSTS, is_vertex_host
from llmfail.settings.reading.env_vars import (
    ADMIN_TOKEN_VARIABLE,
    WEBHOOK_VARIABLE,
    find_variables,
    variable_of,
)
from llmfail.settings.reading.find import ConfigSource, Origin
from llmfail.settings.reading.plain_values import Place
from llmfail.settings.reading.schema_files import InvalidSchemaFile, read_schema
from llmfail.settings.schema.scalars import split_url
from llmfail.settings.schema.serve_scalars import split_address
from llmfail.settings.trust.config_tree import (
    alerts_of,
    base_url_of,
    features_of,
    host_of,
    list_stores,
    providers_of,
    steps_of,
    templates_of,
    walk_texts,
)
from llmfail.settings.trust.covered_file import digest_files
from llmfail.settings.trust.schema_keyword import looks_like_schema

PROJECT_VARIABLE: Final = "GOOGLE_CLOUD_PROJECT"
_KEPT_BY_STORES: Final[Mapping[Place, str]] = {
    ("store",): "its state",
    ("cache", "store"): "answers",
    ("queue", "store"): "prompts",
}
_OPEN_SERVE_KEYS: Final = ("hosts", "origins", "keys")
"""Settings of ``serve`` that let others ask than the programs of this machine."""


class TrustFinding(Struct, frozen=True):
    """What needs trust, and where. ``covers`` names all that consent to it is for, each with a digest: when
    one of them changes, it needs consent again.
    """

    place: Place
    message: str
    covers: Mapping[str, str]


def check_trust_rules(
    source: ConfigSource, tree: object, overridden: Collection[Place]
) -> tuple[TrustFinding, ...]:
    """What the file would do that needs trust; nothing for a file that somebody chose."""
    if source.origin is not Origin.DIRECTORY or not isinstance(tree, dict):
        return ()
    return (
        *_check_references(tree),
        *_check_commands(tree, source.path.parent),
        *_check_key_sources(tree, source.path.parent),
        *_check_alerts(tree, source.path.parent),
        *_check_serve(tree),
        *_check_store(tree),
        *_check_files(tree, source.path.parent),
        *_check_credentials(tree, overridden),
    )


def _check_references(tree: Mapping[str, object]) -> Iterator[TrustFinding]:
    for place, text in walk_texts(tree, ()):
        for variable in find_variables(text):
            if not _may_read(tree, place, variable):
                message = _describe_use(tree, place, variable)
                yield _cover(place, message, variable, text, *_list_destinations(tree, place))


def _cover(place: Place, message: str, *details: str) -> TrustFinding:
    """Consent for what the message says, as long as the details are the same."""
    return TrustFinding(place, message, {message: make_digest(message, *details)})


def _list_destinations(tree: Mapping[str, object], place: Place) -> list[str]:
    """Where a text at this place may go: to its own provider, or with a prompt to any."""
    providers = providers_of(tree)
    match place:
        case ("providers", name, *_) if name in providers:
            return [base_url_of(providers[name])]
        case _:
            return sorted(map(base_url_of, providers.values()))


def _may_read(tree: Mapping[str, object], place: Place, variable: str) -> bool:
    match place:
        case ("providers", name, "api_key"):
            host = host_of(providers_of(tree)[name])
            return host is not None and OWNER_HOSTS.get(variable) == host
        case ("alerts", "webhook_secret"):
            return variable == WEBHOOK_VARIABLE and not _has_webhook(tree)
        case ("serve", "admin_token"):
            return variable == ADMIN_TOKEN_VARIABLE
        case ("serve", "keys", _, "key" | "sha256"):
            return True  # it goes nowhere, and keys need trust anyway
        case ("providers", name, "project"):
            return variable == PROJECT_VARIABLE and providers_of(tree)[name].get("api") == "vertex"
        case _:
            return False


def _has_webhook(tree: Mapping[str, object]) -> bool:
    return bool(alerts_of(tree).get("webhooks"))


def _describe_use(tree: Mapping[str, object], place: Place, variable: str) -> str:
    match place:
        case ("providers", name, "api_key" | "token"):
            owner = OWNER_HOSTS.get(variable)
            foreign = (
                f"which is not its owner's host ({owner})"
                if owner
                else "although no host is known as its owner"
            )
            where = _describe_destination(providers_of(tree)[name], lambda host: host == owner, foreign)
            return f"would send {variable} to {where}"
        case _:
            return f"would use the environment variable {variable} where none belongs"


def _describe_destination(
    provider: Mapping[str, object], is_owner: Callable[[str], bool], foreign: str
) -> str:
    """Host and port that would get a credential, and what is wrong with them."""
    parts = split_url(base_url_of(provider))
    if parts is None:
        return "a host that is not its owner's"
    scheme, host, port, _ = parts
    shown = f"{host}:{port}" if port else host
    if not is_owner(host):
        return f"{shown}, {foreign}"
    if scheme != "https":
        return f"{scheme}://{shown}, which is not https: it could be read on the way"
    return f"{shown}, whose port is not the usual 443" if port not in {None, "443"} else shown


def _check_key_sources(tree: Mapping[str, object], directory: Path) -> Iterator[TrustFinding]:
    """Where keys come from that are neither in the file nor in the environment."""
    if isinstance(name := tree.get("env_file"), str):
        yield _cover(("env_file",), f"would read variables from {name}", name)
    for provider, entry in providers_of(tree).items():
        for field in ("api_key", "token"):
            source = entry.get(field)
            if not isinstance(source, dict):
                continue
            at: Place = ("providers", provider, field)
            destinations = _list_destinations(tree, at)
            yield _cover(at, "would send a key from a file or a command", json.dumps(source), *destinations)
            argv = source.get("command")
            if isinstance(argv, list):
                command = json.dumps(argv, default=str)
                covers = {f"command {command}": make_digest(command), **digest_files(argv, directory)}
                yield TrustFinding(at, "would run a command", covers)


def _check_commands(tree: Mapping[str, object], directory: Path) -> Iterator[TrustFinding]:
    for place, step in steps_of(tree):
        if "command" in step:
            yield _cover_command(place, step["command"], directory)


def _cover_command(place: Place, command: object, directory: Path) -> TrustFinding:
    argv = command if isinstance(command, list) else [command]
    text = json.dumps(argv, default=str)
    covers = {f"command {text}": make_digest(text), **digest_files(argv, directory)}
    return TrustFinding(place, "would run a command", covers)


def _check_store(tree: Mapping[str, object]) -> Iterator[TrustFinding]:
    """Whoever has the server of the state reads what was asked and when, and says which circuits are open;
    those of answers and the queue read what was said.
    """
    for place, store in list_stores(tree):
        if isinstance(store, str) and "://" in store:
            yield _cover(place, f"would keep {_KEPT_BY_STORES[place]} on a host of its choice", store)


def _check_alerts(tree: Mapping[str, object], directory: Path) -> Iterator[TrustFinding]:
    """Whom ``watch`` would tell of alerts, and with which program."""
    alerts = alerts_of(tree)
    if alerts.get("command"):
        yield _cover_command(("alerts", "command"), alerts["command"], directory)
    webhooks = alerts.get("webhooks")
    for index, webhook in enumerate(webhooks if isinstance(webhooks, list) else ()):
        if isinstance(webhook, dict) and webhook.get("url"):
            place: Place = ("alerts", "webhooks", index, "url")
            yield _cover(place, "would send alerts to a host of its choice", str(webhook["url"]))


def _check_serve(tree: Mapping[str, object]) -> Iterator[TrustFinding]:
    """Who could ask through ``serve`` besides the programs of this machine, and where it would write."""
    serve = tree.get("serve")
    if not isinstance(serve, dict):
        return
    for name in _OPEN_SERVE_KEYS:
        if serve.get(name):
            text = json.dumps(serve[name], default=str)
            yield _cover(("serve", name), "would let others ask with your keys", text)
    address = split_address(str(serve.get("listen", ":0")))
    if address is None or not is_loopback(address[0]):
        yield _cover(("serve", "listen"), "would let other machines ask with your keys", str(serve["listen"]))
    token = serve.get("admin_token")
    if token and variable_of(token) != ADMIN_TOKEN_VARIABLE:
        yield _cover(("serve", "admin_token"), "would let others operate your gateway", str(token))
    if serve.get("log"):
        yield _cover(("serve", "log"), f"would write to {serve['log']}", str(serve["log"]))


def _check_files(tree: Mapping[str, object], directory: Path) -> Iterator[TrustFinding]:
    """A schema goes to the provider, so a schema elsewhere, or a file that is none, would be a way to send
    any JSON file.
    """
    for at, template in templates_of(tree):
        if isinstance(template, str) and template.startswith(TEMPLATE_FILE_MARK):
            yield _cover(at, f"would send the file {template[1:]}", template, *_list_destinations(tree, at))
    for name, feature in features_of(tree):
        expect = feature.get("expect")
        schema = expect.get("schema") if isinstance(expect, dict) else None
        if not isinstance(schema, str):
            continue
        place: Place = ("features", name, "expect", "schema")
        destinations = _list_destinations(tree, place)
        if not _is_inside(directory / schema, directory):
            yield _cover(place, "would read a file outside its directory", schema, *destinations)
        elif not _may_be_sent(directory / schema):
            yield _cover(place, f"would send {schema}, which is no JSON Schema", *destinations)


def _may_be_sent(path: Path) -> bool:
    """Whether it is a schema, or will be refused as none."""
    try:
        return looks_like_schema(read_schema(path))
    except InvalidSchemaFile:
        return True


def _is_inside(path: Path, directory: Path) -> bool:
    try:
        return path.resolve().is_relative_to(directory.resolve())
    except (OSError, ValueError, RuntimeError):
        return False


def _check_credentials(tree: Mapping[str, object], overridden: Collection[Place]) -> Iterator[TrustFinding]:
    """Credentials that are not in the file, but would go where the file says."""
    vendors = frozenset(OWNER_HOSTS.values())
    for name, provider in providers_of(tree).items():
        here: Place = ("providers", name)
        host = host_of(provider)
        may_be_vertex = provider.get("api") == "vertex" or (
            (*here, "api") in overridden and provider.get("base_url")
        )
        if may_be_vertex and not is_vertex_host(host):
            where = _describe_destination(
                provider, is_vertex_host, "which is none of Google's hosts for Vertex"
            )
            yield _cover((*here, "base_url"), f"would send a Google token to {where}", base_url_of(provider))
        elif not is_vertex_host(host) and host not in vendors and (*here, "base_url") not in overridden:
            where = _describe_destination(provider, vendors.__contains__, "which is no vendor's host")
            for key in ("api_key", "token"):
                if (*here, key) in overridden:
                    yield _cover((*here, key), f"would send a key of yours to {where}", base_url_of(provider))
