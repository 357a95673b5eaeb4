"""What a view looks like, kept to be looked at, and whether all of it can be seen and used."""

from __future__ import annotations

from pathlib import Path

from axe import barriers
from chromium import Chromium

KIOSK = (1920, 1080)
PHONE = (390, 844)
SCREENS = {"kiosk": KIOSK, "phone": PHONE}
SCHEMES = ("light", "dark", "dim")
FOLDER = Path(__file__).resolve().parents[2] / "build" / "screenshots"
FOLDER.mkdir(parents=True, exist_ok=True)


def choose(page: Chromium, scheme: str) -> None:
    page.evaluate(
        f"(() => {{ const one = document.querySelector('#scheme'); one.value = {scheme!r};"
        " one.dispatchEvent(new Event('change')); })()"
    )


def look_at(page: Chromium, name: str, *, one_screen: bool = False) -> None:
    """Screenshots of the page as it is, on each screen and in each scheme; nothing may be cut off, and axe
    find nothing. `one_screen`: a kiosk need not be scrolled."""
    for screen, size in SCREENS.items():
        page.look(*size, calm=True)
        for scheme in SCHEMES:
            choose(page, scheme)
            page.screenshot(FOLDER / f"{name}-{screen}-{scheme}.png")
            assert barriers(page) == [], (name, screen, scheme)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), screen
        if one_screen and screen == "kiosk":
            assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
