"""Whether a JSON value has only what a JSON Schema has. Any other JSON file is accepted as a schema as well,
since keywords that are not known are allowed, and would be sent to a provider.
"""

from __future__ import annotations

from typing import Final

_SCHEMAS: Final = frozenset(
    """additionalItems additionalProperties contains contentSchema else if items not propertyNames then
    unevaluatedItems unevaluatedProperties""".split()  # noqa: SIM905 - a list of words reads better
)
"""Keywords whose value is a schema."""
_LISTS: Final = frozenset({"allOf", "anyOf", "items", "oneOf", "prefixItems"})
_MAPPINGS: Final = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
_VALUES: Final = frozenset(
    """$anchor $comment $dynamicAnchor $dynamicRef $id $recursiveAnchor $recursiveRef $ref $schema $vocabulary
    const contentEncoding contentMediaType default dependencies dependentRequired deprecated description
    discriminator enum example examples exclusiveMaximum exclusiveMinimum externalDocs format id maxContains
    maxItems maxLength maxProperties maximum minContains minItems minLength minProperties minimum multipleOf
    name nullable pattern propertyOrdering readOnly required strict title type uniqueItems writeOnly
    xml""".split()  # noqa: SIM905
)


def looks_like_schema(value: object) -> bool:
    """Every key of it, and of the schemas in it, is a keyword. Assumes that it is not nested too deeply."""
    if not isinstance(value, dict):
        return isinstance(value, bool)
    return all(isinstance(key, str) and _is_keyword(key, inner) for key, inner in value.items())


def _is_keyword(key: str, inner: object) -> bool:
    if key in _LISTS and isinstance(inner, list):
        return all(map(looks_like_schema, inner))
    if key in _MAPPINGS and isinstance(inner, dict):
        return all(map(looks_like_schema, inner.values()))
    return looks_like_schema(inner) if key in _SCHEMAS else key in _VALUES or key.startswith("x-")
