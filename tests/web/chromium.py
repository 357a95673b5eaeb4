"""Headless Chromium, driven over the pipe of its DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

ANSWER_S = 30

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(PROGRAM is None, reason="needs chromium: apt-get install chromium")

KEYS = {
    "Enter": (13, "\r"),
    "Escape": (27, ""),
    "Tab": (9, ""),
    "ArrowRight": (39, ""),
    "ArrowLeft": (37, ""),
    "End": (35, ""),
    " ": (32, " "),
    **{str(digit): (48 + digit, str(digit)) for digit in range(10)},
}

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


class Chromium:
    """One browser with one tab."""

    def __init__(self, program: str | None, profile: Path) -> None:
        assert program is not None
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        # The browser reads commands from descriptor 3 and writes answers to 4.
        redirect = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", redirect, "bash", program, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(theirs_in, theirs_out),
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._in = ours_in
        self._heard = b""
        self._out = os.fdopen(ours_out, "wb")
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._heard:
            ready, _, _ = select.select([self._in], [], [], ANSWER_S)
            assert ready, "the browser does not answer"
            heard = os.read(self._in, 65536)
            assert heard, "the browser ended"
            self._heard += heard
        message, self._heard = self._heard.split(b"\0", 1)
        return json.loads(message)

    def open(self, url: str) -> None:
        """Until the page is there and its scripts ran."""
        self._call("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete'")

    def look(
        self, width: int, height: int, *, dark: bool = False, calm: bool = False, vision: str = "none"
    ) -> None:
        """Size of the screen, colour scheme, reduced motion, and colour vision (such as `deuteranopia`)."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        features = {
            "prefers-color-scheme": "dark" if dark else "light",
            "prefers-reduced-motion": "reduce" if calm else "no-preference",
        }
        self._call(
            "Emulation.setEmulatedMedia",
            features=[{"name": name, "value": value} for name, value in features.items()],
        )
        self._call("Emulation.setEmulatedVisionDeficiency", type=vision)

    def evaluate(self, expression: str) -> Any:
        result = self._call(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
            userGesture=False,
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 20) -> None:
        """Until an expression is true."""
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"still not true: {expression}"
            time.sleep(0.1)

    def before_each_page(self, script: str) -> None:
        """Runs before any script of a page that is opened from now on."""
        self._call("Page.addScriptToEvaluateOnNewDocument", source=script)

    def send_header(self, name: str, value: str) -> None:
        """With every request from now on."""
        self._call("Network.enable")
        self._call("Network.setExtraHTTPHeaders", headers={name: value})

    def press(self, key: str, *, shift: bool = False) -> None:
        """A key of the keyboard, held for no time."""
        code, text = KEYS[key]
        for kind in ("keyDown", "keyUp"):
            self._call(
                "Input.dispatchKeyEvent",
                type=kind if text or kind == "keyUp" else "rawKeyDown",
                key=key,
                code="Space" if key == " " else key,
                windowsVirtualKeyCode=code,
                modifiers=8 if shift else 0,
                **({"text": text} if text and kind == "keyDown" else {}),
            )

    def type(self, text: str) -> None:
        """What a keyboard would put where the focus is."""
        self._call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """The mouse, in the middle of the first element that is found so, once that stands still."""
        x, y = self.evaluate(
            f"(async () => {{ const one = document.querySelector({selector!r});"
            " one.scrollIntoView({block: 'center'});"
            " const place = () => { const r = one.getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; };"
            " for (let before = null, now = place(); `${before}` !== `${now}`;) { before = now;"
            " await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));"
            " now = place(); }"
            " return place(); })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def turn_wheel(self, selector: str, by: int) -> None:
        x, y = self.evaluate(
            f"(() => {{ const r = document.querySelector({selector!r}).getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        self._call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=by)

    def text(self, selector: str) -> str:
        """What of an element is seen; nothing where there is none."""
        found: str = self.evaluate(f"document.querySelector({selector!r})?.innerText ?? ''")
        return found.strip()

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def complaints(self) -> list[dict[str, Any]]:
        """What the browser logged or the page threw, such as a violation of the content policy."""
        self.evaluate("1")
        return [one for one in self.events if one["method"] in ("Log.entryAdded", "Runtime.exceptionThrown")]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        self._out.close()
