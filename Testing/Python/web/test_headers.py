"""Security headers are on every answer: of the gateway's routes, and of what it passes on."""

from __future__ import annotations

import pytest
from web_user import run_async

WANTED = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
#: Paths that the route for all else is tried with.
ELSEWHERE = [
    "/index.html",
    "/efficient-medsam2/page.js",
    "/download/segmentation",
    "/no/such/path",
    "/%2e%2e/etc/passwd",
]


def missing(headers):
    return [name for name, value in WANTED.items() if value not in headers.get(name, "")]


@pytest.mark.parametrize("token", [None, "secret"])
def test_every_route_has_them(token):
    pytest.importorskip("aiohttp", reason="needs the extra web")
    from aiohttp.test_utils import TestClient, TestServer

    from EfficientMedSAM2Lib.web.gateway.app import Gateway, GatewayConfig

    async def ask_all():
        app = Gateway(GatewayConfig(token=token, sessions=0)).application()
        asked = set()
        async with TestClient(TestServer(app)) as client:
            for route in app.router.routes():
                path = route.resource.canonical
                for known in ELSEWHERE if "{" in path else [path]:
                    for method in ("GET", "POST", "PUT") if route.method == "*" else (route.method, "DELETE"):
                        for headers in ({}, {"Origin": "http://evil.example"}, {"Host": "evil.example"}):
                            answer = await client.request(method, known, headers=headers, allow_redirects=False)
                            assert missing(answer.headers) == [], (method, known, answer.status)
                            asked.add((path, method))
        return asked

    assert len(run_async(ask_all())) > 12


@pytest.mark.browser
def test_what_is_passed_on_has_them(user):
    """The page, its script and style, files, and refusals, as the browser gets them from the session's process."""
    seen = user.page.evaluate(
        """async paths => Promise.all(paths.map(async path => {
            const answer = await fetch(path, {cache: "no-store"});
            return [path, answer.status, Object.fromEntries(answer.headers)];
        }))""",
        ["/", *ELSEWHERE, "/efficient-medsam2/page.css", "/alive"],
    )
    found = {
        path: (status, missing({key.title(): value for key, value in headers.items()}))
        for path, status, headers in seen
    }
    assert [path for path, (_, lacks) in found.items() if lacks] == []
    assert found["/"][0] == found["/efficient-medsam2/page.js"][0] == found["/alive"][0] == 200
