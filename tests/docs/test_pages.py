"""The pages hang together: each is in the index, links lead somewhere, the rooms of the architecture are there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from masking.demo.story import EXPECTED
from tests.docs.blocks import ROOT, blocks, pages

DOCS = ROOT / "docs"
ARCHITECTURE = (DOCS / "architecture.md").read_text()
ROOMS = re.findall(r"^\| (`.+?) \| .+ \|$", ARCHITECTURE, re.MULTILINE)
"""The first cells of the table of rooms."""

NO_ROOMS = {"tests"}
"""Packages beside the product."""


def test_the_index_lists_every_page_once() -> None:
    listed = re.findall(r"^\d+\. \[(.+?)\]\((.+?)\)", (DOCS / "README.md").read_text(), re.MULTILINE)
    assert all(name == target for name, target in listed)
    assert sorted(target for _, target in listed) == sorted(
        page.name for page in DOCS.glob("*.md") if page.name != "README.md"
    )


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        to = page.parent / path if path else page
        assert to.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(to), f"{page.name}: {target}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_begins_with_what_it_is_for(page: Path) -> None:
    title, blank, first, *_ = page.read_text().splitlines()
    assert re.match(r"# \w", title)
    assert not blank
    assert re.match(r"[A-Z`]", first), "a sentence, before any heading, table or code"


def test_every_package_is_a_room_of_the_table() -> None:
    named = {name.rstrip("/") for cell in ROOMS for name in re.findall(r"`([\w/.]+)`", cell)}
    top = {path.parent.name for path in ROOT.glob("*/__init__.py")} - NO_ROOMS - {"masking"}
    ours = {f"masking/{path.parent.name}" for path in (ROOT / "masking").glob("*/__init__.py")}
    assert named >= top | ours
    for name in named:
        assert (ROOT / name).exists(), f"there is no {name}"


def test_every_name_of_the_diagram_is_there() -> None:
    (diagram,) = [block.text for block in blocks() if block.page == "docs/architecture.md"][:1]
    places = re.findall(r"[a-z_]+(?:/[A-Za-z_]+)+|worker\.py", diagram)
    assert {"masking/gateway", "masking/domain", "masking/delivery", "worker.py"} <= set(places)
    for place in places:
        folder, _, name = place.rpartition("/")
        if name[:1].isupper():
            modules = [importlib.import_module(f"{folder}.{path.stem}") for path in (ROOT / folder).glob("*.py")]
            assert any(hasattr(module, name) for module in modules), place
        else:
            assert (ROOT / place).exists() or (ROOT / f"{place}.py").exists(), place
    for module in re.findall(r"(?<![/\w])[a-z]+_[a-z_]+(?![/\w])", diagram):
        assert (ROOT / "masking" / "gateway" / f"{module}.py").exists(), module


def test_the_picture_shows_the_demo_and_no_number_of_anybody() -> None:
    drawn = (DOCS / "masked-call.svg").read_text().replace("&#160;", " ")
    for name in EXPECTED:
        assert name in drawn
    numbers = re.findall(r"(?<![\w.-])\+?(1\d{10})(?![\w.-])", drawn)
    assert len(set(numbers)) == 3
    assert all(re.fullmatch(r"1\d{3}55501\d\d", number) for number in numbers)
    assert set(re.findall(r"https?://[^\"' )<]+", drawn)) <= {"http://www.w3.org/2000/svg"}
