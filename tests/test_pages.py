"""The README and the pages that it links to: every relative link leads to a file, and to a heading of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.matrix import rows

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "tests" / "benchmarks" / "README.md"]


def prose(page: Path) -> str:
    """Return a page's text without its blocks of code, where what looks like a heading or a link is none."""
    return re.sub(r"^```.*?^```|^    .*?$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return what a link can name behind a "#", as GitHub makes it of headings."""
    headings = re.findall(r"^#{1,6} (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)) if "://" not in link]
    lost = []
    for link in links:
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


def test_summary_of_the_matrix_is_the_one_that_the_command_wrote() -> None:
    readme, page = (ROOT / name for name in ("README.md", "docs/matrix.md"))
    shown = readme.read_text("utf-8").partition("<!-- made by modelmill matrix -->")[2].partition("<!-- end -->")[0]
    assert f"## Summary\n\n{shown.strip()}\n\n##" in page.read_text(encoding="utf-8")
    assert [line.split(" | ")[0].strip("| ") for line in shown.splitlines() if line.startswith("| ")] == [
        "model", *(row.name for row in rows.ROWS)
    ]  # fmt: skip


def test_readme_lists_every_page() -> None:
    linked = set(re.findall(r"\]\(docs/([^)#\s]+\.md)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert linked == {page.name for page in (ROOT / "docs").glob("*.md")}
