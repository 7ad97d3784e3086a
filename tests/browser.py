"""A real browser without a window, driven over WebDriver BiDi: Firefox speaks it, Chromium through its chromedriver.

Whatever a page says on the console, every violation of its policy and every request that it makes is kept.
"""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

CHROMIUM, FIREFOX = "chromium", "firefox-esr"
WAIT_S = 30.0
KEYS = {"Enter": "\ue006", "Escape": "\ue00c", "Tab": "\ue004", "Left": "\ue012", "Up": "\ue013", "Right": "\ue014"} | {
    "Down": "\ue015"
}
LISTENER = """() => {
  window.__faults = [];
  const keep = (words) => window.__faults.push(words);
  document.addEventListener("securitypolicyviolation", (event) => keep(`violation: ${event.effectiveDirective}`));
  addEventListener("error", (event) => keep(`error: ${event.message}`), true);
  addEventListener("unhandledrejection", (event) => keep(`rejection: ${event.reason}`));
}"""
# What neither browser may ask the network for: a page from a file needs nothing.
CHROMIUM_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
FIREFOX_PREFERENCES = {
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.proxy.type": 1,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "remote.active-protocols": 1,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}


def missing(name: str) -> str | None:
    """Why `name` cannot be driven here, or None."""
    needed = (name, "chromedriver") if name == CHROMIUM else (name,)
    lacking = [program for program in needed if shutil.which(program) is None]
    return f"{' and '.join(lacking)} not installed" if lacking else None


class Browser:
    """One tab."""

    def __init__(self, socket_: ClientConnection) -> None:
        self._socket = socket_
        self._ids = itertools.count(1)
        self.requests: list[str] = []
        self.console: list[str] = []
        self._tab = self._page = ""

    @property
    def faults(self) -> list[str]:
        """What the page did that no page of ours may: errors, violations of its policy, requests."""
        own = ("file:", "data:", "about:")
        found = [f"request: {url[:200]}" for url in self.requests if not url.startswith(own)]
        found += [f"file: {url}" for url in self.requests if url.startswith("file:") and url != self._page]
        found += [line for line in self.console if not line.startswith(("debug", "info"))]
        return [*found, *self.eval("window.__faults")]

    def open_tab(self) -> None:
        # The window that Firefox starts with never has the focus, without which a button does not hear keys.
        self._tab = self.send("browsingContext.create", {"type": "window"})["context"]
        self.send("session.subscribe", {"events": ["log.entryAdded", "network.beforeRequestSent"]})
        self.send("script.addPreloadScript", {"functionDeclaration": LISTENER})

    def send(self, method: str, parameters: dict[str, Any]) -> Any:
        """The result of one command; events that come before it are kept."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=WAIT_S))
            if message.get("id") == number:
                assert message["type"] == "success", f"{method}: {message}"
                return message["result"]
            self._keep(message)

    def _keep(self, message: dict[str, Any]) -> None:
        parameters = message.get("params", {})
        if message.get("method") == "log.entryAdded":
            self.console.append(f"{parameters['level']}: {parameters['text']}")
        elif message.get("method") == "network.beforeRequestSent":
            self.requests.append(parameters["request"]["url"])

    def open(self, page: Path) -> None:
        """Load a page and wait until all that it draws is drawn."""
        self.requests.clear()
        self.console.clear()
        self._page = page.as_uri()
        self.send("browsingContext.navigate", {"context": self._tab, "url": self._page, "wait": "complete"})
        self.until("document.documentElement.dataset.drawn === 'true'")

    def eval(self, expression: str) -> Any:
        """The value of a JavaScript expression, which may be a promise; through JSON."""
        wrapped = f"(async () => JSON.stringify(await ({expression})))()"
        found = self.send(
            "script.evaluate",
            {"expression": wrapped, "target": {"context": self._tab}, "awaitPromise": True, "resultOwnership": "none"},
        )
        assert found["type"] == "success", found
        return json.loads(found["result"]["value"]) if found["result"]["type"] == "string" else None

    def until(self, condition: str) -> None:
        ends = time.monotonic() + WAIT_S
        while not self.eval(condition):
            assert time.monotonic() < ends, f"never true: {condition}; {self.console}"
            time.sleep(0.02)

    def press(self, *keys: str) -> None:
        """Keys, one after the other, as a person presses them."""
        actions = [{"type": kind, "value": KEYS.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")]
        self.send(
            "input.performActions",
            {"context": self._tab, "actions": [{"type": "key", "id": "keyboard", "actions": actions}]},
        )

    def resize(self, width: int, height: int = 900) -> None:
        self.send("browsingContext.setViewport", {"context": self._tab, "viewport": {"width": width, "height": height}})

    def picture(self) -> bytes:
        """The whole page as PNG."""
        found = self.send("browsingContext.captureScreenshot", {"context": self._tab, "origin": "document"})
        return base64.b64decode(found["data"])

    def paper(self, width_cm: float, height_cm: float) -> bytes:
        """The page as PDF."""
        page = {"width": width_cm, "height": height_cm}
        found = self.send("browsingContext.print", {"context": self._tab, "page": page, "background": True})
        return base64.b64decode(found["data"])


@contextmanager
def browser(name: str, folder: Path, *, dark: bool = False) -> Iterator[Browser]:
    """A browser that is stopped at the end; its profile is below `folder`."""
    start: Callable[[Path, int, bool], list[str]] = _chromedriver if name == CHROMIUM else _firefox
    port = _free_port()
    profile = folder / f"{name}-profile"
    profile.mkdir(parents=True)
    log = (folder / f"{name}.log").open("wb")
    with log, subprocess.Popen(start(profile, port, dark), stdout=log, stderr=log) as process:
        try:
            _wait_for(port)
            url = _chromium_session(port, profile, dark) if name == CHROMIUM else f"ws://127.0.0.1:{port}/session"
            with connect(url, max_size=None, proxy=None) as socket_:
                tab = Browser(socket_)
                if name == FIREFOX:
                    tab.send("session.new", {"capabilities": {}})
                tab.open_tab()
                yield tab
                tab.send("browser.close", {})
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _chromedriver(profile: Path, port: int, dark: bool) -> list[str]:
    return ["chromedriver", f"--port={port}", "--log-level=WARNING"]


def _chromium_session(port: int, profile: Path, dark: bool) -> str:
    arguments = [*CHROMIUM_ARGUMENTS, f"--user-data-dir={profile}", *(["--force-dark-mode"] if dark else [])]
    options = {"binary": shutil.which(CHROMIUM), "args": arguments}
    wanted = {"capabilities": {"alwaysMatch": {"webSocketUrl": True, "goog:chromeOptions": options}}}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/session", json.dumps(wanted).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=WAIT_S) as answer:
        return str(json.load(answer)["value"]["capabilities"]["webSocketUrl"])


def _firefox(profile: Path, port: int, dark: bool) -> list[str]:
    preferences = {**FIREFOX_PREFERENCES, "layout.css.prefers-color-scheme.content-override": 0 if dark else 1}
    lines = [f"user_pref({json.dumps(key)}, {json.dumps(value)});" for key, value in preferences.items()]
    (profile / "user.js").write_text("\n".join(lines), encoding="utf-8")
    return [FIREFOX, "--headless", "--no-remote", "--profile", str(profile), f"--remote-debugging-port={port}"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    ends = time.monotonic() + WAIT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < ends, f"nothing listens on port {port}"
            time.sleep(0.05)
        else:
            return
