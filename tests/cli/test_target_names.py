"""What may be the name of a target, on the command line and in the configuration alike."""

import pytest

from llmfail.core.model import Target
from llmfail.settings.schema.scalars import TargetName

GOOD = [
    "openai/gpt-6.1-terra",
    "groq/openai/gpt-oss-120b",
    "local/llama3.2:3b-instruct@q4",
    "a/b",
    "my_provider.2/ft:gpt-6:org::id",
    f"a/{'x' * 254}",
]
BAD = [
    "",
    "gpt-6.1-terra",
    "openai/",
    "/gpt",
    "openai//gpt",
    "-x/gpt",
    "open ai/gpt",
    "openai/gpt 6",
    "openai/gpt\n",
    "openai/gpt\t",
    "openai/\x1b[31mred",
    "openai/\x7f",
    "openai/gpt-\N{LATIN SMALL LETTER U WITH DIAERESIS}",
    "openai/\udcff",
    f"a/{'x' * 255}",
]
[KIND] = TargetName.__metadata__


@pytest.mark.parametrize("name", GOOD)
def test_visible_ascii_is_a_name(name):
    assert str(Target.parse(name)) == name
    assert KIND.parse(name) == Target.parse(name)


@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_anything_else_is_none(name):
    with pytest.raises(ValueError, match="written provider/model") as caught:
        Target.parse(name)
    assert str(caught.value).isprintable()
    with pytest.raises(ValueError, match="written provider/model"):
        KIND.parse(name)
