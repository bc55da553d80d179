"""Opens pages in Chromium and reports as JSON: the requests of each page and their hosts, what it complained
of, what stands on it. It drives the browser by its own protocol, over two pipes, so that nothing else is needed.

    browser.py BASE FOLDER    # pictures go into FOLDER
"""

import base64
import json
import os
import subprocess
import sys
import time

DEADLINE_S = 240

SIZES = {"desktop": (1280, 900, False), "phone": (390, 844, True), "narrow": (320, 640, True)}
# Sent by the pages of a client that is logged in.
LOGIN = {"Authorization": "Bearer browser"}
PAGES = {
    "machine": ("/", "document.querySelectorAll('.meters div').length >= 2"),
    "login": ("/", "document.querySelectorAll('.steps div').length >= 4"),
    "denied": ("/metrics", "document.querySelectorAll('.steps div').length >= 4"),
    "wm": ("/wm_resource_monitor", "document.querySelectorAll('dt').length == 2"),
    "docs": ("/docs", "document.querySelectorAll('.opblock').length > 40"),
    "redoc": ("/redoc", "document.querySelectorAll('[data-section-id]').length > 40"),
    "docs-resource": ("/docs?api=pixcrawler", "document.querySelectorAll('.opblock').length == 2"),
}

# Opens an operation, sends its request, and returns the status.
TRY = """(async () => {
  const until = async (what) => {
    for (;;) { const found = what(); if (found) return found; await new Promise(requestAnimationFrame); }
  };
  const block = await until(() => document.querySelector('[id^="operations-"][id$="-whoami"]'));
  block.querySelector('.opblock-summary-control').click();
  (await until(() => block.querySelector('.try-out__btn'))).click();
  (await until(() => block.querySelector('.execute'))).click();
  const live = await until(() => block.querySelector('.live-responses-table tbody .response-col_status'));
  block.scrollIntoView();
  return [live.innerText.trim().split(/\\s/)[0], block.querySelector('.live-responses-table').innerText];
})()"""

# Expands one operation, and returns the texts that are cut off, and those with too little contrast:
# words (and arrows) that have less than 4.5 times the light of what they stand on, or more than that part of it.
OPENED = """(async (find, open) => {
  const until = async (what) => {
    for (;;) { const found = what(); if (found) return found; await new Promise(requestAnimationFrame); }
  };
  const block = await until(() => document.querySelector(find));
  if (open) {
    block.querySelector(open).click();
    await until(() => block.querySelector('.responses-table .response-col_status'));
  }
  block.scrollIntoView();
  const numbers = (text) => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const over = ([r, g, b, a = 1], under) => [r, g, b].map((one, at) => one * a + under[at] * (1 - a));
  const paper = (element) => {
    const all = [];
    for (let at = element; at; at = at.parentElement) all.unshift(numbers(getComputedStyle(at).backgroundColor));
    return all.reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const light = (colour) => {
    const part = (one) => (one /= 255) <= .03928 ? one / 12.92 : ((one + .055) / 1.055) ** 2.4;
    const [r, g, b] = colour.map(part);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const shown = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  const pale = [];
  let looked = 0;
  const look = (element, colour, what) => {
    if (!shown(element) || element.closest('option, select')) return;
    looked += 1;
    const under = paper(element);
    const [more, less] = [light(over(numbers(colour), under)), light(under)].sort((a, b) => b - a);
    if ((more + .05) / (less + .05) < 4.5) pale.push(`${what}: ${colour} on ${under.map(Math.round)}`);
  };
  const words = document.createTreeWalker(block, NodeFilter.SHOW_TEXT);
  while (words.nextNode()) {
    const element = words.currentNode.parentElement;
    const text = words.currentNode.data.trim();
    if (text) look(element, getComputedStyle(element).color, text.slice(0, 40));
  }
  for (const arrow of block.querySelectorAll('svg polygon')) look(arrow, getComputedStyle(arrow).fill, 'an arrow');
  // What is too wide makes a phone's window wider than its screen, so that is what it is held against.
  const edge = document.documentElement.clientWidth + 1;
  const scrolls = (one) => one && (/auto|scroll/.test(getComputedStyle(one).overflowX) || (one !== block && scrolls(one.parentElement)));
  const beyond = (one) => one.getBoundingClientRect().right > edge && !scrolls(one.parentElement);
  const cut = [...block.querySelectorAll('*')].filter((one) => shown(one) && beyond(one));
  const tries = block.querySelectorAll('.try-out__btn').length;
  return { looked, pale: [...new Set(pale)], cut: cut.map((one) => one.outerHTML.slice(0, 80)), tries };
})(FIND, OPEN)"""

# Which operation, and what opens it.
OPERATIONS = {
    "docs": ('[id^="operations-"][id$="-history"]', ".opblock-summary-control"),
    "redoc": ('[data-section-id$="/operation/history"]', None),
    "docs-resource": ('[id^="operations-"][id$="-metrics"]', ".opblock-summary-control"),
}

# What the keyboard reaches, from the top.
OPENED_BY_KEYS = """(async () => {
  const begun = performance.now();
  while (performance.now() - begun < 10000) {
    if (document.querySelector('.opblock.is-open .responses-table')) return true;
    await new Promise(requestAnimationFrame);
  }
  return false;
})()"""
FOCUS = "(document.activeElement.innerText || document.activeElement.getAttribute('aria-label') || '').trim()"


class Browser:
    def __init__(self, profile):
        to_browser, self.outgoing = os.pipe()
        self.incoming, from_browser = os.pipe()

        def wire():
            # It reads its third file and writes its fourth. First out of the way of each other.
            reads, writes = os.dup2(to_browser, 30), os.dup2(from_browser, 31)
            os.dup2(reads, 3)
            os.dup2(writes, 4)

        self.child = subprocess.Popen(
            [
                "chromium",
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--ignore-certificate-errors",
                "--hide-scrollbars",
                f"--user-data-dir={profile}",
                "--remote-debugging-pipe",
                "about:blank",
            ],
            preexec_fn=wire,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self.buffer = b""
        self.number = 0
        self.session = None
        self.events = []
        self.deadline = time.monotonic() + DEADLINE_S

    def read(self):
        while b"\0" not in self.buffer:
            assert time.monotonic() < self.deadline, "the browser takes too long"
            piece = os.read(self.incoming, 1 << 16)
            assert piece, "the browser ended"
            self.buffer += piece
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.outgoing, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.events.append(answer)

    def value(self, expression):
        report = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in report, report
        return report["result"].get("value")

    def page(self):
        self.session = None
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.events.clear()

    def dress(self, size, scheme):
        width, height, mobile = SIZES[size]
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, url, ready):
        self.call("Page.navigate", url=url)
        while not self.value(f"document.readyState == 'complete' && ({ready})"):
            assert time.monotonic() < self.deadline, f"{url} does not show what it should"
            self.value("new Promise(requestAnimationFrame).then(() => 0)")

    def report(self):
        """What happened since the page was made."""
        complaints, requests, policies = [], [], []
        for event in self.events:
            method, it = event.get("method"), event.get("params", {})
            if method == "Network.requestWillBeSent":
                requests.append(it["request"]["url"])
            elif method == "Network.responseReceived" and it["type"] == "Document":
                headers = {name.lower(): value for name, value in it["response"]["headers"].items()}
                policies.append(headers.get("content-security-policy", ""))
            elif method == "Runtime.exceptionThrown":
                complaints.append(it["exceptionDetails"].get("text", "") + str(it["exceptionDetails"].get("exception", {}).get("description", "")))
            elif method == "Runtime.consoleAPICalled" and it["type"] in ("error", "assert"):
                complaints.append(json.dumps(it["args"])[:500])
            elif method == "Log.entryAdded" and it["entry"]["level"] in ("error", "warning"):
                complaints.append(it["entry"]["text"] + " " + it["entry"].get("url", ""))
        return {"complaints": complaints, "requests": requests, "policies": policies}

    def picture(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


def press(browser, key):
    number, more = (9, {}) if key == "Tab" else (13, {"text": "\r"})
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=number, **more)


def main():
    base, folder = sys.argv[1:]
    browser = Browser(os.path.join(folder, "profile"))
    try:
        seen = {}
        for page, (path, ready) in PAGES.items():
            for size in SIZES:
                for scheme in ("light", "dark"):
                    browser.page()
                    browser.dress(size, scheme)
                    browser.call("Network.setExtraHTTPHeaders", headers=LOGIN if page == "machine" else {})
                    browser.open(base + path, ready)
                    report = browser.report()
                    if page == "denied":
                        # The browser mentions the status of the page itself.
                        report["complaints"] = [line for line in report["complaints"] if "status of 401" not in line]
                    report["wider_by"] = browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                    report["background"] = browser.value("getComputedStyle(document.body).backgroundColor")
                    report["title"] = browser.value("document.title")
                    browser.picture(os.path.join(folder, f"{page}-{size}-{scheme}.png"))
                    if page in OPERATIONS:
                        find, opens = (json.dumps(part) for part in OPERATIONS[page])
                        report["opened"] = browser.value(OPENED.replace("FIND, OPEN", f"{find}, {opens}"))
                        browser.picture(os.path.join(folder, f"{page}-opened-{size}-{scheme}.png"))
                    seen[f"{page} {size} {scheme}"] = report
        browser.page()
        browser.dress("desktop", "light")
        browser.open(base + "/docs", PAGES["docs"][1])
        status, text = browser.value(TRY)
        browser.picture(os.path.join(folder, "docs-tried.png"))
        tried = {"status": status, "text": text, **browser.report()}
        reached = []
        browser.open(base + "/", PAGES["login"][1])
        for _ in range(6):
            press(browser, "Tab")
            reached.append(browser.value(FOCUS))
        browser.open(base + "/docs", PAGES["docs"][1])
        for _ in range(60):
            press(browser, "Tab")
            if browser.value("document.activeElement.matches('.opblock-summary-control')"):
                break
        press(browser, "Enter")
        opened = browser.value(OPENED_BY_KEYS)
        print(json.dumps({"seen": seen, "tried": tried, "reached": reached, "opened_by_keys": opened}))
    finally:
        browser.child.kill()
        browser.child.wait()


main()
