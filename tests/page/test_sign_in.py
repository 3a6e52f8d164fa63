"""Sign-in: nothing without it, links once, cookies that no page reads, failed tries, forms, tokens."""

from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from yarl import URL

from tests.fixtures.page_home import PageHome, page_home
from upnp_gw import api
from upnp_gw.page import sessions
from upnp_gw.page.certificate import own_pair

SAFE_PUBLIC = ("/sign-in", "/sign-in/x")


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[PageHome]:
    async with page_home(tmp_path) as home:
        yield home


def routes(home: PageHome) -> list[tuple[str, str]]:
    """Every route of the operator, with something in place of the names."""
    found = []
    for route in home.page.application.router.routes():
        resource = route.resource
        assert resource is not None
        path = resource.canonical
        for name in ("device", "id", "rule", "number", "secret", "name"):
            path = path.replace(f"{{{name}}}", "x")
        found.append((route.method, path))
    return found


@pytest.mark.spec("SR-45")
async def test_no_route_answers_without_a_sign_in(home: PageHome) -> None:
    tried = 0
    async with home.browser() as stranger:
        for method, path in routes(home):
            if path.startswith(("/sign-in", "/static")):
                continue
            async with stranger.session.request(method, home.url + path, allow_redirects=False) as answer:
                assert answer.status in (303, 401), (method, path)
                assert answer.headers.get("Location", "/sign-in") == "/sign-in"
                assert "11.22.33.44" not in await answer.text()
            tried += 1
    assert tried > 60


@pytest.mark.spec("SR-48")
async def test_a_link_signs_in_once_and_the_cookie_is_the_browsers_alone(home: PageHome) -> None:
    link = home.link()
    async with home.browser() as browser:
        async with browser.session.get(link) as looked:
            assert looked.status == 200, "to look at the link does not use it up"
        secret = link.rpartition("/")[2]
        answer = await browser.session.post(f"{home.url}/sign-in", data={"secret": secret}, allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        cookie = answer.headers["Set-Cookie"]
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
        assert "Max-Age" not in cookie
        assert (await browser.get("/"))[0] == 200
        async with home.browser() as second:
            again = await second.session.post(f"{home.url}/sign-in", data={"secret": secret})
            assert again.status == 403


@pytest.mark.spec("SR-48")
async def test_a_session_is_never_the_one_that_a_browser_brings(home: PageHome) -> None:
    """Session fixation."""
    name = home.page.part.sign_in.cookie
    async with home.browser() as browser:
        browser.session.cookie_jar.update_cookies({name: "chosen-by-an-attacker"}, URL(home.url))
        await browser.sign_in()
        mine = next(cookie.value for cookie in browser.session.cookie_jar if cookie.key == name)
        assert mine != "chosen-by-an-attacker"
        async with home.browser(Cookie=f"{name}=chosen-by-an-attacker") as attacker:
            status, _ = await attacker.get("/mappings")
            assert status == 200
            assert len(home.page.part.sessions) == 1
            assert "sign" in (await attacker.get("/mappings"))[1].lower()
        await browser.sign_in()
        async with home.browser(Cookie=f"{name}={mine}") as old:
            answer = await old.session.get(f"{home.url}/mappings", allow_redirects=False)
            assert answer.status == 303, "a new sign-in ends the old session of this browser"


@pytest.mark.spec("SR-48")
async def test_failed_tries_are_limited_and_a_good_secret_never_waits(home: PageHome) -> None:
    """Anybody who can connect can fail, so that this must not keep the operator or a script out."""
    secret = home.link().rpartition("/")[2]
    token = home.page.tokens.create("prometheus", acts=False, for_s=None)
    async with home.operator() as operator, home.browser() as browser:
        codes = []
        for number in range(sessions.FAILURES + 3):
            answer = await browser.session.post(f"{home.url}/sign-in", data={"secret": f"guess-{number}"})
            codes.append(answer.status)
        assert codes == [403] * sessions.FAILURES + [429] * 3
        assert int(answer.headers["Retry-After"]) > 1
        for guess in ("Bearer guess", f"Bearer {token}x", f"Basic {token}", "Bearer " + "x" * 5000):
            assert (await browser.get("/v1/status", Authorization=guess))[0] == 429
        assert (await browser.get("/v1/status", Authorization=f"Bearer {token}"))[0] == 200
        assert (await browser.get("/metrics", Authorization=f"Bearer {token}"))[0] == 200
        assert (await operator.get("/mappings"))[0] == 200
        answer = await browser.session.post(f"{home.url}/sign-in", data={"secret": secret}, allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        answer = await browser.session.post(f"{home.url}/sign-in", data={"secret": secret})
        assert answer.status == 429, "the link was good once"


@pytest.mark.spec("SR-48")
async def test_failed_tries_of_many_hosts_keep_no_good_secret_out(
    home: PageHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "FAILURES", sessions.FAILURES_OF_ALL)
    token = home.page.tokens.create("prometheus", acts=False, for_s=None)
    async with home.browser() as browser:
        for _ in range(sessions.FAILURES_OF_ALL):
            assert (await browser.get("/v1/status", Authorization="Bearer guess"))[0] == 401
        assert (await browser.get("/v1/status", Authorization="Bearer guess"))[0] == 429
        assert (await browser.get("/v1/status", Authorization=f"Bearer {token}"))[0] == 200
        await browser.sign_in()
        assert (await browser.get("/mappings"))[0] == 200


@pytest.mark.spec("SR-47")
async def test_a_change_needs_the_token_of_a_form_of_this_page(home: PageHome) -> None:
    await home.home.granted(3074)
    async with home.operator() as operator:
        for token in ("", "wrong", "x" * 5000):
            status, _, text = await operator.post("/mappings/m1/end", token=token)
            assert status == 403
            assert "wrong" not in text
        good = await operator.form_token()
        for headers in (
            {"Origin": "http://evil.example"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        ):
            answer = await operator.session.post(
                f"{home.url}/mappings/m1/end", data={"form_token": good}, headers=headers
            )
            assert answer.status == 403
        assert len(home.home.ports) == 1
        assert (await operator.get("/mappings/m1/end"))[0] == 200, "to look at the form ends nothing"
        assert len(home.home.ports) == 1
        status, path, _ = await operator.post("/mappings/m1/end")
        assert (status, path) == (200, "/mappings")
        assert home.home.ports == set()


async def test_a_page_of_another_site_signs_nobody_in(home: PageHome) -> None:
    """It could sign a browser in with a link of its own maker."""
    fields = {"secret": home.link().rpartition("/")[2]}
    for name, value in (("Sec-Fetch-Site", "cross-site"), ("Origin", "http://elsewhere.example")):
        async with (
            home.browser(**{name: value}) as browser,
            browser.session.post(f"{home.url}/sign-in", data=fields) as answer,
        ):
            assert answer.status == 403
            assert "Set-Cookie" not in answer.headers
    async with home.browser() as browser, browser.session.post(f"{home.url}/sign-in", data=fields) as answer:
        assert answer.status == 200, "the link is still good"


async def test_sign_out_ends_the_session(home: PageHome) -> None:
    async with home.operator() as operator:
        await operator.post("/sign-out")
        assert len(home.page.part.sessions) == 0
        answer = await operator.session.get(f"{home.url}/mappings", allow_redirects=False)
        assert answer.status == 303


async def test_a_token_reads_the_api_and_acts_only_if_it_may(home: PageHome) -> None:
    await home.home.granted(3074)
    tokens = home.page.tokens
    reads = tokens.create("reads", acts=False, for_s=None)
    acts = tokens.create("acts", acts=True, for_s=None)
    async with home.browser(Authorization=f"Bearer {reads}") as script:
        status, text = await script.get("/v1/mappings")
        assert status == 200
        assert '"external_port":3074' in text
        assert (await script.session.delete(f"{home.url}/v1/mappings/m1")).status == 403
        assert (await script.session.post(f"{home.url}/mappings/m1/end")).status == 403
        assert (await script.session.put(f"{home.url}/v1/devices/console/name", data=b"{}")).status == 403
        assert len(home.home.ports) == 1
    async with home.browser(Authorization=f"Bearer {acts}") as script:
        assert (await script.session.post(f"{home.url}/mappings/m1/end")).status == 403
        answer = await script.session.delete(f"{home.url}/v1/mappings/m1")
        assert answer.status == 200
        assert home.home.ports == set()
        missing = await script.session.get(f"{home.url}/v1/mappings/m%2F1")
        assert missing.status == 404
        assert (await missing.json())["error"] == "no-such-mapping"
        for route in (route for route in api.ROUTES.values() if route.local):
            answer = await script.session.request(route.method, f"{home.url}{route.path}")
            assert answer.status == 404, f"{route.path} is only at the control socket"
    tokens.revoke("reads")
    async with home.browser(Authorization=f"Bearer {reads}") as script:
        assert (await script.get("/v1/mappings"))[0] == 401
    async with home.operator() as operator:
        assert (await operator.get("/v1/mappings"))[0] == 403, "the cookie of a browser is not for scripts"


async def test_wrong_tokens_are_limited_and_a_good_one_never_waits(home: PageHome) -> None:
    good = home.page.tokens.create("script", acts=False, for_s=None)
    async with home.browser() as script:
        for _ in range(sessions.FAILURES):
            assert (await script.get("/v1/mappings", Authorization="Bearer upnp-gw-wrong"))[0] == 401
        assert (await script.get("/v1/mappings", Authorization="Bearer upnp-gw-wrong"))[0] == 429
        assert (await script.get("/v1/mappings", Authorization=f"Bearer {good}"))[0] == 200


async def test_over_tls_the_cookie_is_secure_and_of_this_host_only(tmp_path: Path) -> None:
    certificate, key = own_pair(tmp_path, ip_address("127.0.0.1"), [])
    async with page_home(tmp_path, certificate=certificate, key=key) as home, home.browser() as browser:
        secret = home.link().rpartition("/")[2]
        url = f"https://{home.settings.listen}/sign-in"
        answer = await browser.session.post(url, data={"secret": secret}, ssl=False, allow_redirects=False)
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith("__Host-upnp-gw=")
        assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
        assert "Domain" not in cookie
