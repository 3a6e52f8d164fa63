"""A real browser shows a page that tries the control API of `upnp-gw emulate` (SR-9). Run by tests/browser.sh."""

import http.server
import json
import queue
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.browser_pages import browser
from upnp_gw.lab import Host

pytestmark = pytest.mark.lab

PAGE = """<!doctype html><form id=f method=post enctype=text/plain target=frame action="CONTROL/v1/faults">
<input name='{"text":"reset","x":"' value='"}'></form><iframe name=frame></iframe><script>
const fault = '{"text": "reset"}', done = {};
const attempt = async (name, work) => { try { done[name] = await work() } catch (error) { done[name] = "failed" } };
const post = (path, more) => fetch("CONTROL" + path, {method: "POST", body: fault, ...more}).then(a => a.type);
(async () => {
  await attempt("read", () => fetch("CONTROL/v1/state").then(a => a.text()));
  await attempt("simple", () => post("/v1/faults", {mode: "no-cors"}));
  await attempt("json", () => post("/v1/faults", {headers: {"Content-Type": "application/json"}}));
  await attempt("empty", () => fetch("CONTROL/v1/stop", {method: "POST", mode: "no-cors"}).then(a => a.type));
  await attempt("put", () => post("/v1/personality", {method: "PUT", body: '{"names": ["v1-only"]}'}));
  await attempt("beacon", () => navigator.sendBeacon("CONTROL/v1/faults", fault));
  await attempt("image", () => new Promise((yes, no) => {
    const image = new Image(); image.onload = yes; image.onerror = no; image.src = "CONTROL/v1/state" }));
  document.getElementById("f").submit();
  await new Promise(yes => document.querySelector("iframe").onload = yes);
  await fetch("/report", {method: "POST", body: JSON.stringify(done)});
})();
</script>"""


@pytest.fixture
def host(namespaces: None) -> Iterator[Host]:
    host = Host("desk")
    host.ip("link set lo up")
    yield host
    host.close()


def test_a_page_changes_nothing_and_reads_nothing(host: Host, tmp_path: Path) -> None:
    reports: queue.Queue[dict[str, str]] = queue.Queue()
    argv = [sys.executable, "-m", "upnp_gw", "emulate", "--json", "--until-eof"]
    with host.popen(argv, stdin=-1, stderr=None) as process:
        assert process.stdout is not None
        control = json.loads(process.stdout.readline())["control"]

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(PAGE.replace("CONTROL", control).encode())

            def do_POST(self) -> None:
                reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self._answer(b"")

            def _answer(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(body)

        with host.inside():
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with browser(host, tmp_path / "profile", f"http://localhost:{server.server_address[1]}/"):
                done = reports.get(timeout=60)
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
        print(f"  the page: {done}")
        assert {name: done[name] for name in ("read", "json", "put", "image")} == dict.fromkeys(
            ("read", "json", "put", "image"), "failed"
        )
        with host.inside():
            with urllib.request.urlopen(f"{control}/v1/faults", timeout=5) as answer:
                assert json.load(answer) == []
            with urllib.request.urlopen(f"{control}/v1/state", timeout=5) as answer:
                assert json.load(answer)["personality"] == []
        assert process.poll() is None
        process.communicate(timeout=20)
