"""Checks of HTML that every page and fragment has to pass."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"img", "input", "meta", "br", "link", "hr"}


class Checker(HTMLParser):
    """Collects elements, and fails on tags that are not closed in order."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), f"an attribute twice in {tag}"
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> where {self.open[-1]} is open"
        self.open.pop()

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.texts.append(data)


def check(html: str) -> Checker:
    """Well formed, and nothing in it comes from elsewhere."""
    page = Checker()
    page.feed(html)
    page.close()
    assert page.open == []
    for tag, attributes in page.elements:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base"), tag
        for name in ("src", "href", "xlink:href", "poster", "srcset", "action", "data"):
            value = attributes.get(name) or "data:"
            assert value.startswith(("data:image/", "data:video/", "data:", "#")), f"{tag} {name}={value[:60]}"
    assert not re.search(r"url\((?!#)|@import", html)
    return page
