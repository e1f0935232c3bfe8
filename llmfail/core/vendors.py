"""The vendors: for each one a row that says where it is, what it speaks, whose keys it may get, and what it
does otherwise than the others. No other module names a host of theirs.

A new vendor that speaks a known wire format is a new row here, with its price list under ``data/prices`` and
its provider in ``llmfail.example.yaml``. Vertex has a host for each location, which ``vertex_host`` knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import Final

from msgspec import Struct

from llmfail.core.loopback import is_loopback
from llmfail.core.model import Api


class Quirk(Enum):
    """In what a vendor differs from others that speak the same wire format."""

    NEW_LIMIT_KEY = "the longest answer is called max_completion_tokens, not max_tokens"
    NO_STREAM_OPTIONS = "it refuses stream_options, or sends the usage unasked"
    COUNTS_TOKENS = "it counts the tokens of a request when it is asked"
    TAKES_FILES = "Chat Completions there takes PDF"
    TAKES_AUDIO = "Chat Completions there takes sound"
    TAKES_TOP_K = "Chat Completions there takes top_k"
    TAKES_THOUGHTS = "it wants the thoughts of earlier turns back"
    TAKES_MAX_EFFORT = "it knows an effort above high"
    REPORTS_COST = "its answers say what they cost"


class Vendor(Struct, frozen=True, kw_only=True):
    """``name`` and ``aliases`` are what a provider of its is usually called in a configuration; ``title`` is
    what people call a vendor with several hosts. ``hosts`` include all that are below them, and only the
    first may get what ``key_variables`` hold. ``base_url`` is set for the vendor that made the wire format
    ``api``: a provider of that format is there unless it says otherwise. ``price_list`` is the vendor's name
    in the catalogue. ``litellm`` are its names in litellm's table, each with what the names of its models
    begin with there; where two have the same model, the later row wins.
    """

    name: str
    hosts: tuple[str, ...]
    price_list: str
    title: str = ""
    api: Api = "openai"
    aliases: tuple[str, ...] = ()
    base_url: str | None = None
    key_variables: tuple[str, ...] = ()
    litellm: tuple[tuple[str, str], ...] = ()
    quirks: frozenset[Quirk] = frozenset()


GOOGLE_DOMAIN: Final = "googleapis.com"
_VERTEX_HOSTS: Final = {
    "global": "aiplatform.googleapis.com",
    "us": "aiplatform.us.rep.googleapis.com",
    "eu": "aiplatform.eu.rep.googleapis.com",
}
"""By location; every other location is a region."""
_VERTEX_REGION_SUFFIX: Final = "-aiplatform.googleapis.com"


def _build_compatible(
    name: str,
    *hosts: str,
    title: str = "",
    key: str = "",
    litellm: tuple[tuple[str, str], ...] = (),
    quirks: tuple[Quirk, ...] = (),
) -> Vendor:
    """A vendor that speaks OpenAI's format. The catalogue calls it as we do, and so does litellm if no names
    of litellm's are given.
    """
    return Vendor(
        name=name,
        title=title,
        hosts=hosts,
        price_list=name,
        key_variables=(key,) if key else (),
        litellm=litellm or ((name, f"{name}/"),),
        quirks=frozenset(quirks),
    )


VENDORS: Final[tuple[Vendor, ...]] = (
    Vendor(
        name="anthropic",
        hosts=("api.anthropic.com",),
        price_list="anthropic",
        api="anthropic",
        aliases=("claude",),
        base_url="https://api.anthropic.com",
        key_variables=("ANTHROPIC_API_KEY",),
        litellm=(("anthropic", ""),),
    ),
    Vendor(
        name="openai",
        hosts=("api.openai.com",),
        price_list="openai",
        base_url="https://api.openai.com/v1",
        key_variables=("OPENAI_API_KEY",),
        litellm=(("openai", ""),),
        quirks=frozenset(
            {
                Quirk.NEW_LIMIT_KEY,
                Quirk.COUNTS_TOKENS,
                Quirk.TAKES_MAX_EFFORT,
                Quirk.TAKES_FILES,
                Quirk.TAKES_AUDIO,
            }
        ),
    ),
    Vendor(
        name="vertex",
        title="Google",
        hosts=tuple(_VERTEX_HOSTS.values()),
        price_list="google",
        api="vertex",
        litellm=(("vertex_ai-language-models", ""),),
    ),
    Vendor(
        name="google",
        title="Google",
        hosts=("generativelanguage.googleapis.com", GOOGLE_DOMAIN),
        price_list="google",
        api="gemini",
        aliases=("gemini",),
        base_url="https://generativelanguage.googleapis.com",
        key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        litellm=(("gemini", "gemini/"),),
    ),
    _build_compatible(
        "openrouter",
        "openrouter.ai",
        key="OPENROUTER_API_KEY",
        quirks=(
            Quirk.REPORTS_COST,
            Quirk.TAKES_FILES,
            Quirk.TAKES_AUDIO,
            Quirk.TAKES_TOP_K,
            Quirk.TAKES_THOUGHTS,
        ),
    ),
    _build_compatible("groq", "api.groq.com", key="GROQ_API_KEY", quirks=(Quirk.NEW_LIMIT_KEY,)),
    _build_compatible("deepseek", "api.deepseek.com", key="DEEPSEEK_API_KEY", quirks=(Quirk.TAKES_THOUGHTS,)),
    _build_compatible("mistral", "api.mistral.ai", key="MISTRAL_API_KEY", quirks=(Quirk.NO_STREAM_OPTIONS,)),
    _build_compatible(
        "together",
        "api.together.ai",
        "api.together.xyz",
        title="Together AI",
        key="TOGETHER_API_KEY",
        litellm=(("together_ai", "together_ai/"),),
        quirks=(Quirk.NO_STREAM_OPTIONS, Quirk.TAKES_TOP_K),
    ),
    Vendor(
        name="xai",
        hosts=("api.x.ai",),
        price_list="x-ai",
        aliases=("x-ai", "grok"),
        key_variables=("XAI_API_KEY",),
        litellm=(("xai", "xai/"),),
        quirks=frozenset({Quirk.REPORTS_COST}),
    ),
    _build_compatible(
        "ai21",
        "api.ai21.com",
        key="AI21_API_KEY",
        litellm=(("ai21", ""),),
        quirks=(Quirk.NO_STREAM_OPTIONS,),
    ),
    _build_compatible(
        "fireworks",
        "api.fireworks.ai",
        litellm=(("fireworks_ai", "fireworks_ai/"),),
        quirks=(Quirk.TAKES_TOP_K,),
    ),
    _build_compatible("cerebras", "api.cerebras.ai"),
    _build_compatible("perplexity", "api.perplexity.ai", quirks=(Quirk.REPORTS_COST,)),
    Vendor(
        name="moonshotai",
        title="Moonshot AI",
        hosts=("api.moonshot.ai", "api.moonshot.cn"),
        price_list="moonshotai",
        aliases=("moonshot", "kimi"),
        litellm=(("moonshot", "moonshot/"),),
        quirks=frozenset({Quirk.TAKES_THOUGHTS}),
    ),
    _build_compatible("zai", "api.z.ai", quirks=(Quirk.TAKES_THOUGHTS,)),
    _build_compatible("minimax", "api.minimax.io", "api.minimaxi.com", title="MiniMax"),
    _build_compatible(
        "cohere",
        "api.cohere.ai",
        "api.cohere.com",
        title="Cohere",
        litellm=(("cohere", "cohere/"), ("cohere_chat", "")),
    ),
    _build_compatible("novita", "api.novita.ai"),
    _build_compatible("baseten", "inference.baseten.co"),
    _build_compatible("meta", "api.meta.ai"),
)

BASE_URLS: Final[Mapping[str, str]] = {
    vendor.api: vendor.base_url for vendor in VENDORS if vendor.base_url is not None
}
"""Where a wire format is spoken by its vendor; vertex derives its host from the location."""
OWNER_HOSTS: Final = {variable: vendor.hosts[0] for vendor in VENDORS for variable in vendor.key_variables}
"""Which host may get the value of which variable."""
PRICE_LISTS: Final = tuple(dict.fromkeys(vendor.price_list for vendor in VENDORS))
"""The names of the price lists that the catalogue keeps."""
_BY_HOST: Final = {host: vendor for vendor in VENDORS for host in vendor.hosts}
VENDORS_BY_NAME: Final = {name: vendor for vendor in VENDORS for name in (vendor.name, *vendor.aliases)}


def vendor_at(host: str) -> Vendor | None:
    """The vendor that a host belongs to."""
    labels = host.lower().split(".")
    domains = (".".join(labels[start:]) for start in range(len(labels)))
    return next((_BY_HOST[domain] for domain in domains if domain in _BY_HOST), None)


def vendor_of(name: str, host: str) -> Vendor | None:
    """The vendor that a provider stands for. This machine may stand for any vendor, so there (and without a
    host) the provider's name tells; a gateway elsewhere is no vendor that we know.
    """
    found = vendor_at(host)
    if found is None and (not host or is_loopback(host)):
        return VENDORS_BY_NAME.get(name.lower())
    return found


def find_signing_vendor(api: Api, name: str, host: str, model: str) -> str:
    """Whose signatures come from a provider: the name of a vendor, else the host. Claude signs alike wherever
    it is served.
    """
    if api == "vertex":
        return "anthropic" if model.startswith("claude") else "vertex"
    vendor = vendor_of(name, host)
    return host if vendor is None else vendor.name


@lru_cache(maxsize=256)
def quirks_at(host: str) -> frozenset[Quirk]:
    vendor = vendor_at(host)
    return frozenset() if vendor is None else vendor.quirks


def vertex_host(location: str) -> str:
    """Google's host for Vertex in a location: global, multi-regional (``us``) or a region."""
    return _VERTEX_HOSTS.get(location, f"{location}{_VERTEX_REGION_SUFFIX}")


def is_vertex_host(host: str | None) -> bool:
    """Google's hosts for Vertex: global, regional (``…-aiplatform``) and multi-regional (``….rep``)."""
    if host in _VERTEX_HOSTS.values():
        return True
    region = (host or "").removesuffix(_VERTEX_REGION_SUFFIX)
    return region != host and region.replace("-", "").isalnum()
