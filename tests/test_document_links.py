"""What the documents point at is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
ROOMS = "|".join(path.name for path in (ROOT / "llmfail").iterdir() if path.is_dir())
MODULE = re.compile(rf"`(?:llmfail/)?((?:{ROOMS})/[a-z0-9_/]*)(?:\.py)?`")


def shown(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=shown)
def test_every_link_leads_to_a_file(document):
    missing = [link for link in LINK.findall(document.read_text()) if not (document.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=shown)
def test_every_module_that_is_named_exists(document):
    package = ROOT / "llmfail"
    named = MODULE.findall(document.read_text())
    missing = [one for one in named if not (package / one).exists() and not (package / f"{one}.py").exists()]
    assert missing == []
