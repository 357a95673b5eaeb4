"""axe-core, which finds what keeps people with disabilities from using a page."""

from __future__ import annotations

from importlib.resources import files

from chromium import Chromium

_AXE = (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
_RULES = "{runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']}"


def barriers(page: Chromium) -> list[str]:
    """What axe finds, each with the elements that it concerns, but for what only people can judge."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(_AXE)
    found: list[str] = page.evaluate(
        f"axe.run(document, {_RULES}).then(({{violations}}) => violations.map(({{id, nodes}}) =>"
        " `${id}: ${nodes.map(({target, failureSummary}) => target + ' ' + failureSummary).join(' | ')}`))"
    )
    return found
