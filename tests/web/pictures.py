"""Writes the pictures of the page that the documents show, from the demonstration."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from chromium import PROGRAM, Chromium

DOCS = Path(__file__).resolve().parents[2] / "docs"
DEMO_S = 240

SUSPECTED = "document.querySelector('#last [data-outcome=flagged]')"
OTHERS = "document.querySelectorAll('#last tbody tr').length >= 4"
ARRIVING = "!document.querySelector('#progress').hidden"
CALM = "!document.body.classList.contains('alert')"


def main() -> None:
    command = [sys.executable, "-m", "appliance", "demo", "--port", "0"]
    with (
        tempfile.TemporaryDirectory() as profile,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1) as demo,
    ):
        browser = Chromium(PROGRAM, Path(profile))
        try:
            assert demo.stdout is not None
            url = next(found[0] for line in demo.stdout if (found := re.search(r"http://[^\s]+", line)))
            browser.look(1280, 800, calm=True)
            browser.open(url)
            # Nothing shows more than a study that is suspected beside others, while one arrives.
            browser.wait_for(f"{SUSPECTED} && {OTHERS} && {ARRIVING} && {CALM}", DEMO_S)
            browser.screenshot(DOCS / "page.png")
            browser.evaluate("document.querySelector('#last [data-outcome=flagged] a').click()")
            browser.wait_for("document.querySelector('.viewer img')?.naturalWidth > 0")
            browser.look(1280, 1100, calm=True)
            browser.screenshot(DOCS / "study.png")
        finally:
            browser.close()
            demo.send_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
