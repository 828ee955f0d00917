"""Who tries tokens is slowed down, by address, and the log tells of it."""

from __future__ import annotations

import asyncio
import logging

import pytest

pytest.importorskip("aiohttp", reason="needs the extra web")
from aiohttp import DummyCookieJar
from aiohttp.test_utils import TestClient, TestServer
from web_user import run_async

from EfficientMedSAM2Lib.web.gateway.app import Gateway, GatewayConfig
from EfficientMedSAM2Lib.web.gateway.login_attempts import LoginAttempts, TooManyAttempts

TOKEN = "a long token"


def test_hundreds_of_attempts_are_not_looked_at(caplog):
    """All at once, by both ways; the right one among them does not get in, and a browser that is in stays in."""

    async def attempt():
        server = TestServer(Gateway(GatewayConfig(token=TOKEN, sessions=0)).application())
        async with TestClient(server) as known, TestClient(server, cookie_jar=DummyCookieJar()) as client:
            inside = await known.post("/token", data={"token": TOKEN}, allow_redirects=False)
            assert inside.status == 303
            ways = [client.get("/", params={"token": f"wrong{n}"}) for n in range(150)]
            ways += [client.post("/token", data={"token": f"wrong{n}"}) for n in range(150)]
            answers = [answer.status for answer in await asyncio.gather(*ways)]
            late = await client.post("/token", data={"token": TOKEN}, allow_redirects=False)
            return answers, late, (await known.get("/alive")).status

    with caplog.at_level(logging.WARNING):
        answers, late, inside = run_async(attempt())
    looked_at = answers.count(401)
    assert 1 <= looked_at <= 4
    assert answers.count(429) == len(answers) - looked_at
    assert late.status == 429
    assert int(late.headers["Retry-After"]) >= 1
    assert inside == 410  # known, without a session
    lines = [record.getMessage() for record in caplog.records if "Wrong token" in record.getMessage()]
    assert len(lines) == looked_at
    assert "127.0.0.1" in lines[0]
    assert "wrong0" not in "".join(lines)


def test_each_wrong_one_waits_longer_and_addresses_are_apart(monkeypatch):
    from EfficientMedSAM2Lib.web.gateway import login_attempts

    now = 1000.0
    monkeypatch.setattr(login_attempts.time, "monotonic", lambda: now)
    known, waits = LoginAttempts(), []
    for _ in range(9):
        assert not known.check("10.0.0.1", lambda: False)
        with pytest.raises(TooManyAttempts) as refused:
            known.check("10.0.0.1", lambda: True)
        waits.append(refused.value.seconds)
        now += refused.value.seconds
    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert known.check("10.0.0.2", lambda: True)
    assert not known.check("2001:db8::1", lambda: False)
    with pytest.raises(TooManyAttempts):
        known.check("2001:db8::2", lambda: True)
    assert known.check("2001:db8:0:1::1", lambda: True)
    assert not known.check("::ffff:10.0.0.3", lambda: False)
    with pytest.raises(TooManyAttempts):
        known.check("10.0.0.3", lambda: True)
    assert known.check("10.0.0.1", lambda: True)
    assert not known.check("10.0.0.1", lambda: False)
    now += 0.6  # it began anew
    assert known.check("10.0.0.1", lambda: True)
