"""A real browser, headless, that opens a page and tells what it saw."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.processes import PATIENCE_S, wait_for

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
DESK, PHONE = 1200, 390
HEIGHT = 900
COMPLAINTS = {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded", "Network.loadingFailed"}


@dataclass(frozen=True)
class Seen:
    """What a browser saw of a page.

    Parameters
    ----------
    errors : list of str
        Everything written to its console, exceptions, and what could not be loaded.
    broken_pictures : int
        Pictures that could not be drawn.
    pictures : int
        All of them.
    width : int
        Of the window [px].
    overflow_px : int
        By how much the page is wider than the window.
    text : str
        What there is to read, with all that is folded opened.
    """

    errors: list[str]
    broken_pictures: int
    pictures: int
    width: int
    overflow_px: int
    text: str


LOOK = """(async () => {
    document.querySelectorAll("details").forEach(part => { part.open = true; });
    await Promise.all([...document.images].map(image => image.decode().catch(() => null)));
    const root = document.documentElement;
    return JSON.stringify({
        broken_pictures: [...document.images].filter(image => !image.naturalWidth).length,
        pictures: document.images.length,
        width: innerWidth,
        overflow_px: root.scrollWidth - root.clientWidth,
        text: document.body.innerText,
    });
})()"""


def look(page: Path, *widths: int) -> list[Seen]:
    """Open a page anew in windows of some widths, as a phone's or a desk's."""
    with _started() as port:
        return asyncio.run(_look(port, page.resolve().as_uri(), widths))


def looks_well(page: Path) -> Seen:
    """Look at a page as wide as a desk's window, and as narrow as a phone's; return what is seen there."""
    desk, phone = look(page, DESK, PHONE)
    assert (desk.width, phone.width) == (DESK, PHONE)
    for seen in (desk, phone):
        assert (seen.errors, seen.broken_pictures, seen.overflow_px) == ([], 0, 0)
    return phone


@contextmanager
def _started() -> Iterator[int]:
    program = next(filter(None, map(which, PROGRAMS)), None)
    assert program is not None, "the tests need Chromium: run .ci/setup browser"
    # a process of the browser may outlive it for a moment, and write there
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                   "--remote-debugging-port=0", f"--user-data-dir={profile}"]
        with (Path(profile) / "log").open("w") as log:
            process = subprocess.Popen(
                [program, *options, "about:blank"], stdout=log, stderr=log, start_new_session=True
            )
        try:
            yield _port(Path(profile) / "DevToolsActivePort", process)
        finally:
            os.killpg(process.pid, signal.SIGKILL)     # the program may be a script that starts the browser
            process.wait(PATIENCE_S)


def _port(file: Path, process: subprocess.Popen[bytes]) -> int:
    def found() -> list[str]:
        assert process.poll() is None, f"Chromium did not start (exit code {process.poll()})"
        lines = file.read_text().splitlines() if file.exists() else []
        return lines if len(lines) > 1 else []

    return int(wait_for(found, "the start of Chromium")[0])


async def _look(port: int, address: str, widths: Sequence[int]) -> list[Seen]:
    browser = await _connected(_target(port))
    errors: list[str] = []
    loaded: set[str] = set()     # pages that are there with all that belongs to them
    numbers = count(1)

    async def listen() -> Any:
        message = json.loads(str(await asyncio.wait_for(browser.read_message(), PATIENCE_S)))
        name, told = message.get("method", ""), message.get("params", {})
        if name in COMPLAINTS:
            errors.append(json.dumps(told))
        if name == "Page.lifecycleEvent" and told["name"] == "load":
            loaded.add(told["loaderId"])
        return message

    async def ask(method: str, **parameters: Any) -> Any:
        number = next(numbers)
        await browser.write_message(json.dumps({"id": number, "method": method, "params": parameters}))
        while (message := await listen()).get("id") != number:
            pass
        return message.get("result", message)

    for domain in ("Runtime", "Log", "Network", "Page"):
        await ask(f"{domain}.enable")
    await ask("Page.setLifecycleEventsEnabled", enabled=True)
    seen = []
    for width in widths:
        window = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        await ask("Emulation.setDeviceMetricsOverride", **window)
        page = (await ask("Page.navigate", url=address))["loaderId"]
        while page not in loaded:
            await listen()
        found = await ask("Runtime.evaluate", expression=LOOK, awaitPromise=True, returnByValue=True)
        seen.append(Seen(errors.copy(), **json.loads(found["result"]["value"])))
        errors.clear()
    browser.close()
    return seen


def _target(port: int) -> str:
    """Where the one page that is open listens, which may be open a moment after the browser."""

    def found() -> list[str]:
        with urlopen(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE_S) as answer:
            return [str(target["webSocketDebuggerUrl"]) for target in json.load(answer) if target["type"] == "page"]

    return wait_for(found, "a page of the browser")[0]


async def _connected(address: str) -> WebSocketClientConnection:
    return await asyncio.wait_for(websocket_connect(address, max_message_size=2**28), PATIENCE_S)
