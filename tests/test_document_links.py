"""What the documents point at is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
OWN_LINK = re.compile(
    r"\]\(https://(?:github\.com/llmfail/llmfail/blob|raw\.githubusercontent\.com/llmfail/llmfail)/main/([^)#]+)"
)
ROOMS = "|".join(path.name for path in (ROOT / "llmfail").iterdir() if path.is_dir())
MODULE = re.compile(rf"`(?:llmfail/)?((?:{ROOMS})/[a-z0-9_/]*)(?:\.py)?`")


def shown(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=shown)
def test_every_link_leads_to_a_file(document):
    text = document.read_text()
    linked = [
        *(document.parent / link for link in LINK.findall(text)),
        *(ROOT / link for link in OWN_LINK.findall(text)),
    ]
    assert [str(file) for file in linked if not file.exists()] == []


def test_k1_the_links_of_the_readme_work_on_a_package_index():
    text = (ROOT / "README.md").read_text()
    assert LINK.findall(text) == []
    assert len(OWN_LINK.findall(text)) >= 6


@pytest.mark.parametrize("document", DOCUMENTS, ids=shown)
def test_every_module_that_is_named_exists(document):
    package = ROOT / "llmfail"
    named = MODULE.findall(document.read_text())
    missing = [one for one in named if not (package / one).exists() and not (package / f"{one}.py").exists()]
    assert missing == []
