"""A headless Chromium as the browser tests use it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)

#: The contrast of every element that has text of its own against what it stands on, as
#: [ratio, text, colour, background]; of drawn shapes against the page.
CONTRAST = """
const parse = c => (c.match(/[\\d.]+/g) || []).map(Number);
const light = c => {
  const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const [r, g, b] = c.map(v => linear(v / 255));
  return .2126 * r + .7152 * g + .0722 * b;
};
const ratio = (a, b) => {
  const [high, low] = [light(a), light(b)].sort((x, y) => y - x);
  return (high + .05) / (low + .05);
};
const behind = e => {
  for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] === 1) return c.slice(0, 3);
    if (c[3] > 0) throw new Error('see-through background');
  }
  return [255, 255, 255];
};
const found = [];
for (const e of document.querySelectorAll('body *')) {
  if (e.closest('svg')) {
    if (!e.matches('rect, path') || e.closest('.m-blank')) continue;
    const c = parse(getComputedStyle(e).fill);
    found.push(['shape', ratio(c.slice(0, 3), behind(e.closest('svg'))), e.getAttribute('class')]);
  } else if ([...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) {
    const style = getComputedStyle(e);
    if (style.opacity !== '1') throw new Error('see-through text');
    const contrast = ratio(parse(style.color).slice(0, 3), behind(e));
    found.push(['text', contrast, e.textContent.slice(0, 40)]);
  }
}
return found;
"""


@dataclass
class Browser:
    """A running browser."""

    driver: Any

    @classmethod
    def start(cls, binary: str, driver: str, profile: Path) -> "Browser":
        """Start a browser with an empty profile."""
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        return cls(webdriver.Chrome(options=options, service=Service(driver)))

    def open(self, page: Path | str, *, scheme: str = "light", width: int = 1280) -> None:
        """Open a page in a colour scheme and a viewport so many pixels wide."""
        self.driver.get_log("performance")
        self.driver.get_log("browser")
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.command("Emulation.setEmulatedMedia", features=[feature])
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.command("Emulation.setDeviceMetricsOverride", **size)
        self.driver.get(page.as_uri() if isinstance(page, Path) else page)

    def command(self, name: str, **values: Any) -> Any:
        """Send one command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(name, values)

    def script(self, text: str, *values: Any) -> Any:
        """Run a script in the page, from outside of its policy."""
        return self.driver.execute_script(text, *values)

    def requests(self) -> list[str]:
        """Return the address of everything that the page asked for, itself first, apart from what
        its policy stopped."""
        asked: dict[str, str] = {}
        page = self.script("return location.href").partition("#")[0]
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            values = message["params"]
            if message["method"] == "Network.requestWillBeSent" and values["documentURL"] == page:
                asked[values["requestId"]] = values["request"]["url"]
            elif message["method"] == "Network.loadingFailed" and values.get("blockedReason"):
                asked.pop(values["requestId"], None)
        return list(asked.values())

    def complaints(self) -> list[str]:
        """Return what was written to the console about the page since it was opened."""
        page = self.script("return location.href").partition("#")[0]
        written = (entry["message"] for entry in self.driver.get_log("browser"))
        return [message for message in written if message.startswith(page)]

    def press(self, *keys: str) -> None:
        """Press keys where the focus is."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def open_details(self) -> None:
        """Open everything that is folded."""
        self.script("document.querySelectorAll('details').forEach(d => { d.open = true; })")
