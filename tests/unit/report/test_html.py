"""Reports in HTML: one whole file."""

from collections.abc import Callable
from html.parser import HTMLParser

from raykd.report.comparison import Comparison
from raykd.report.html import html
from raykd.report.markdown import markdown
from tests.unit.report.comparisons import fill

Invent = Callable[..., Comparison]


def test_label_names_cannot_break_the_documents(invent: Invent):
    comparison = invent(names=("<script>alert(1)</script>", "a|b"), environment={"command": "<b>"})
    assert "a\\|b" in markdown(comparison)
    page = html(comparison)
    assert "<script" not in page
    assert "&lt;script&gt;" in page


class Page(HTMLParser):
    """Addresses that a browser would load, and tags that are not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_one_whole_file_with_the_verdict_on_top(invent: Invent):
    comparison = fill(invent())
    text = html(comparison)
    page = Page()
    page.feed(text)
    assert page.open == []
    assert len(page.addresses) == 3
    assert all(address.startswith("data:image/svg+xml;base64,") for address in page.addresses)
    assert not page.tags & {"script", "link", "iframe"}
    assert "@import" not in text
    assert "url(" not in text
    assert text.index(comparison.verdict()) < text.index("<table>")
    assert 'class="verdict better"' in text
