"""What a feature and an ask come to before any target is chosen: the request, and what its answer must be.
Cheap to import, since an answer that is at hand needs no more than this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec.structs import replace

from llmfail.core.conversation import (
    NO_OPTIONS,
    OPTION_NAMES,
    GenerationOptions,
    Message,
    Tool,
    ToolChoice,
    count_chars,
    is_blank_of_text,
    merge_json,
    merge_options,
    with_text,
)
from llmfail.core.errors import EmptyPrompt, UsageError
from llmfail.core.model import Endpoint, Request, Target
from llmfail.core.request.ask import Ask
from llmfail.core.request.expectation import NOTHING_EXPECTED, Expectation, merge
from llmfail.core.vendors import find_signing_vendor
from llmfail.engine.planning.resolved_feature import ResolvedFeature
from llmfail.settings.schema.degrade_steps import TemplateStep
from llmfail.settings.schema.provider_types import OptionsPatch, Provider
from llmfail.settings.schema.settings import Settings, UnknownName
from llmfail.settings.schema.types import Expect, Feature

LARGE_BYTES = 256 * 1024
"""From here on a request or a reply may take milliseconds to be written or read."""


NO_PATCH = OptionsPatch()
EXPECTED_BY_DEFAULT = Expectation(nonempty=Expect().nonempty)
"""Of an answer to a feature that says nothing of it: some text."""


def request_of(
    settings: Settings, feature: ResolvedFeature, ask: Ask, expected: Expectation, *, blank: bool = False
) -> Request:
    """Raises UsageError for a prompt template that does not exist or cannot be filled, and for no prompt
    unless it may be ``blank``.
    """
    may_be_empty = blank and not ask.parameters and all(one.is_blank for one in ask.messages)
    messages = ask.messages if may_be_empty else _messages(settings, feature.written, ask)
    return Request(
        messages=_files_as_they_are(messages),
        system=feature.written.system if ask.system is None else ask.system,
        max_tokens=feature.numbers.max_tokens,
        temperature=feature.numbers.temperature,
        stop=ask.stop,
        schema=expected.schema,
        tools=ask.tools,
        tool_choice=_require_offered(ask),
        parallel_tools=ask.parallel_tools,
        options=merge_options(options_of(feature.written.options), ask.options),
        schema_name=ask.schema_name,
        schema_strict=ask.schema_strict,
        json=ask.json,
        marks=ask.marks,
    )


def _require_offered(ask: Ask) -> ToolChoice | None:
    """The choice of tools, if it can be met. What a vendor's own tool is called is not known here."""
    choice = ask.tool_choice
    if choice is None or choice.mode not in {"named", "required"}:
        return choice
    if not ask.tools:
        raise UsageError(
            "a tool has to be called, but no `tools` are offered: offer it, or leave the choice away"
        )
    names = [tool.name if isinstance(tool, Tool) else None for tool in ask.tools]
    if choice.mode == "named" and None not in names and choice.name not in names:
        raise UsageError(f"no tool is called {choice.name!r}; offered are {', '.join(map(str, names))}")
    return choice


def _files_as_they_are(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    for message in messages:
        if not isinstance(message.content, str) and message.attachments:
            from llmfail.core.request.media_type import correct_media_types

            return tuple(map(correct_media_types, messages))
    return messages


def is_large(request: Request) -> bool:
    """Whether it may take milliseconds to write or to hash."""
    size = len(request.system_text) if request.system else 0
    for message in request.messages:
        size += count_chars(message)
    return size > LARGE_BYTES


def expectation_of(settings: Settings, feature: Feature, ask: Ask) -> Expectation:
    """What the feature and the caller expect together. Raises UsageError for a schema that is none."""
    own = EXPECTED_BY_DEFAULT
    if feature.expect is not None:
        from llmfail.settings.reading.schema_files import load_expectation

        own = load_expectation(feature.expect, directory_of(settings))
    if ask.schema is None and ask.expect == NOTHING_EXPECTED:
        return own
    return merge(own, merge(ask.expect, Expectation(schema=ask.schema)))


def endpoint_of(provider: Provider, model: str) -> Endpoint:
    return Endpoint(
        api=provider.api,
        base_url=provider.base_url or "",
        model=model,
        key=provider.token or provider.api_key,
        api_version=provider.api_version,
        project=provider.project,
        location=provider.location,
    )


def endpoint_of_target(settings: Settings, target: Target) -> Endpoint:
    """With all that the configuration says of the target and of its provider; the target's own wins."""
    provider, model = settings.provider_of(target), settings.model_of(target)
    return replace(
        endpoint_of(provider, target.model),
        door=model.endpoint or provider.endpoint or "chat",
        vendor=find_signing_vendor(provider.api, provider.name, provider.address[0], target.model),
        options=merge_options(
            merge_options(options_of(settings.defaults.options), options_of(provider.options)),
            options_of(model.options),
        ),
        body=merge_json(provider.body or {}, model.body or {}) or None,
        headers={**provider.headers, **model.headers} or None,
        query={**provider.query, **model.query} or None,
    )


def options_of(patch: OptionsPatch) -> GenerationOptions:
    if patch == NO_PATCH:
        return NO_OPTIONS
    return GenerationOptions(**{name: getattr(patch, name) for name in OPTION_NAMES})


def directory_of(settings: Settings) -> Path:
    """What the files that a configuration names are relative to."""
    return Path.cwd() if settings.source is None else settings.source.path.parent


def _messages(settings: Settings, feature: Feature, ask: Ask) -> tuple[Message, ...]:
    name = feature.template if ask.template is None else ask.template
    if name is None:
        if ask.parameters:
            _require_used(ask.parameters, settings, feature)
        for message in ask.messages:
            if not message.is_blank:
                return ask.messages
        raise EmptyPrompt("the prompt is empty")
    from llmfail.core.degrade.template import TEMPLATE_FILE_MARK, build_prompt

    *earlier, last = ask.messages
    if ask.template is None and (last.role != "user" or is_blank_of_text(last)):
        return ask.messages  # what tools gave, or a turn of the model, is no prompt
    is_typed_file = ask.template is not None and name.startswith(TEMPLATE_FILE_MARK)
    template = _read_file(Path.cwd(), name) if is_typed_file else load_template(settings, name)
    known = frozenset(_degrade_parameters(settings, feature))
    given = {"prompt": last.text, "feature": feature.name}
    text = build_prompt(name, template, given, ask.parameters, known)
    return (*earlier, with_text(last, text))


def load_template(settings: Settings, name: str) -> str:
    """By its name in the configuration; that, and what stands there, may name a file beside the
    configuration. Raises UsageError.
    """
    from llmfail.core.degrade.template import TEMPLATE_FILE_MARK

    text = name if name.startswith(TEMPLATE_FILE_MARK) else settings.templates.get(name)
    if text is None:
        raise UnknownName("template", name, tuple(settings.templates))
    return _read_file(directory_of(settings), text) if text.startswith(TEMPLATE_FILE_MARK) else text


def _read_file(directory: Path, marked: str) -> str:
    path = directory / marked[1:]
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"cannot read the template {path}: {reason}") from None


def _require_used(parameters: Mapping[str, str], settings: Settings, feature: Feature) -> None:
    """Raises UsageError for parameters that no text of a feature without a prompt template uses."""
    from llmfail.core.degrade.template import check_parameter

    known = frozenset(_degrade_parameters(settings, feature))
    if not known:
        raise UsageError(f"params need a template: feature {feature.name} has none, and none is named")
    for parameter in parameters:
        check_parameter(parameter, f"the degrade steps of {feature.name}", known, ())


def _degrade_parameters(settings: Settings, feature: Feature) -> Iterator[str]:
    """Those of the texts that may answer instead of a model."""
    from llmfail.core.degrade.template import parameter_names

    for step in feature.degrade:
        if isinstance(step, TemplateStep):
            yield from parameter_names(load_template(settings, step.template))
