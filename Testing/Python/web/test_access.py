"""Who comes in, who sees what, and what becomes of a lost connection."""

from __future__ import annotations

import functools
import http.client
import http.server
import select
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from web_user import START_MS, Gateway, User

WEB = [sys.executable, "-m", "EfficientMedSAM2Lib.cli", "web"]
TOKEN = "a long token"


class Relay:
    """A network between browser and gateway that can be cut."""

    def __init__(self, port):
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections = []
        self.is_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        self.is_cut = True
        for connection in self.connections:
            connection.close()
        self.connections = []

    def _accept(self):
        while True:
            try:
                incoming, _ = self.listener.accept()
            except OSError:
                return
            if self.is_cut:
                incoming.close()
                continue
            outgoing = socket.create_connection(("127.0.0.1", self.target))
            self.connections += [incoming, outgoing]
            threading.Thread(target=self._pump, args=(incoming, outgoing), daemon=True).start()

    @staticmethod
    def _pump(*ends):
        try:
            while True:
                for end in select.select(ends, [], [], 0.5)[0]:
                    data = end.recv(1 << 16)
                    if not data:
                        return
                    ends[ends[0] is end].sendall(data)
        except (OSError, ValueError):
            pass
        finally:
            for end in ends:
                end.close()


def ask(port, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_MS / 1000)
    connection.request(method, path, headers={key.replace("_", "-"): value for key, value in headers.items()})
    answer = connection.getresponse()
    return answer.status, answer.read().decode(errors="replace"), answer


@pytest.mark.slow
@pytest.mark.browser
def test_a_lost_connection_comes_back_with_all_work(browser, gateway, user):
    """The session belongs to a cookie of the host, so the way there does not matter."""
    user.open_sample()
    volume = user.draw_box()
    relay = Relay(gateway.port)
    page = user.page.context.new_page()
    other_way = User(page, f"http://127.0.0.1:{relay.port}/")
    page.goto(other_way.url)
    page.wait_for_selector(".header")
    assert other_way.wait_for_volume() == volume
    other_way.wait_kept()
    relay.cut()
    page.wait_for_selector(".lost", state="attached")
    page.wait_for_selector("text=The server does not answer")  # nobody knows yet why
    assert "All your work is kept on the server, as it was at" in page.inner_text(".lost")
    other_way.picture("lost")
    relay.is_cut = False
    page.wait_for_selector(".header")
    assert other_way.wait_for_volume() == volume
    other_way.key("Control+z")
    other_way.wait("segments", "value[0].volume === '0'")
    page.close()
    relay.listener.close()
    user.use_here()


@pytest.mark.slow
@pytest.mark.browser
def test_two_users_see_only_their_own(browser, gateway, user):
    user.open_sample()
    user.draw_box()
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    other = User(context.new_page(), gateway.url).come(until_ready=False)
    assert other.state("volume_name") == ""
    assert other.state("segments") == []
    assert other.page.evaluate("fetch('download/segmentation').then(r => r.status)") == 409
    other.open_sample()
    other.command("add_segment")
    other.wait("segments", "value.length === 2")
    assert len(user.state("segments")) == 1
    assert user.volume() > 0
    assert len(gateway.folders()) == 2

    third = browser.new_context().new_page()  # there is room for two
    assert third.goto(gateway.url).status == 503
    assert "2 users are working here" in third.inner_text("main")
    third.context.close()

    other.page.click("[data-action=end]")
    other.page.wait_for_selector("text=The session has ended")
    assert other.page.evaluate("fetch('alive').then(r => r.status)") == 410
    assert len(gateway.folders()) == 1
    context.close()


@pytest.mark.slow
@pytest.mark.browser
def test_other_hosts_need_the_token(browser, tmp_path):
    served = Gateway(tmp_path, "--host", "0.0.0.0", "--token", TOKEN, "--sessions", "1", "--sample")
    try:
        assert ask(served.port, "/")[0] == 401
        assert ask(served.port, "/index.html")[0] == 401
        assert ask(served.port, "/ws")[0] == 403
        assert ask(served.port, "/?token=wrong")[0] == 401
        page = browser.new_context(viewport={"width": 1280, "height": 720}).new_page()
        user = User(page, served.url)
        page.goto(served.url)
        page.wait_for_timeout(700)  # a wrong one was sent just now
        page.fill("#token", "wrong")
        page.click("text=Open")
        assert "wrong" in page.inner_text("[role=alert]")
        user.picture("token")
        page.wait_for_timeout(1500)  # two wrong ones
        page.fill("#token", TOKEN)
        page.click("text=Open")
        page.click("[action=start] button")
        page.wait_for_selector(".header")
        user.wait("volume_name", "value === 'CTChest4'")
        assert TOKEN not in page.url
        assert str(tmp_path) not in page.content()
        assert "site-packages" not in page.content()
        call = "window.trame.client.getConnection().getSession().call('trame.trigger', ['command', 1, 2, 3])"
        answer = page.evaluate(f"{call}.then(JSON.stringify, error => JSON.stringify(error))")
        assert "Exception" in answer
        assert "/" not in answer
        cookies = page.context.cookies()
        assert all(cookie["httpOnly"] and cookie["sameSite"] == "Strict" for cookie in cookies)
        assert TOKEN not in str(cookies)
        page.context.close()
    finally:
        assert served.stop() == 0
    assert not list(tmp_path.glob("efficient-medsam2-*"))


@pytest.mark.browser
def test_other_sites_cannot_use_the_browser(gateway):
    here = f"127.0.0.1:{gateway.port}"
    assert ask(gateway.port, "/", Host="evil.example")[0] == 403
    assert ask(gateway.port, "/end", "POST", Host=here, Origin="http://evil.example")[0] == 403
    assert ask(gateway.port, "/ws", Host=here, Origin="http://evil.example")[0] == 403
    status, _, answer = ask(gateway.port, "/alive", Host=here)
    assert status == 410
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.nightly
def test_a_session_that_nobody_connects_to_is_ended(tmp_path):
    """Loads that were aborted, before the answer and after it, keep no place."""
    pytest.importorskip("trame_slicer", reason="needs the extra web")
    served = Gateway(tmp_path, "--sessions", "1")
    try:
        hasty = socket.create_connection(("127.0.0.1", served.port))
        hasty.sendall(f"POST /start HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nContent-Length: 0\r\n\r\n".encode())
        hasty.close()
        begun = time.monotonic()
        while (status := ask(served.port, "/start", "POST")[0]) == 503 and time.monotonic() - begun < 300:
            time.sleep(0.5)
        assert status == 303
        assert ask(served.port, "/")[0] == 503
        begun = time.monotonic()
        while ask(served.port, "/")[0] == 503 and time.monotonic() - begun < 100:
            time.sleep(1.0)
        assert ask(served.port, "/")[0] == 200
        assert served.folders() == []
    finally:
        assert served.stop() == 0


@pytest.fixture
def other_site(tmp_path):
    """A site of somebody else, as the browser sees it: another host."""
    folder = tmp_path / "site"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    handler.func.log_message = lambda *_: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def publish(html):
        (folder / "index.html").write_text(html)
        return f"http://localhost:{server.server_port}/"

    yield publish
    server.shutdown()


def sessions_of(served):
    """Sessions that have been opened: their processes hold a folder, and so does the one that waits."""
    return len(served.folders())


@pytest.mark.slow
@pytest.mark.browser
def test_another_site_opens_no_session_and_takes_none_away(gateway, user, other_site):
    """Frames, pictures, scripts, forms and links to this server; the living session is gone on with at the end."""
    user.open_sample()
    volume = user.draw_box()
    before, cookies = sessions_of(gateway), user.page.context.cookies()
    here = gateway.url
    page = user.page.context.new_page()
    page.goto(
        other_site(
            f"<iframe src='{here}'></iframe><img src='{here}'><iframe src='{here}?token=x'></iframe>"
            f"<iframe name=f></iframe><form method=post action='{here}start' target=f></form>"
            f"<form method=post action='{here}end' target=f></form><a href='{here}'>link</a>"
            f"<script>for (const form of document.forms) form.submit(); fetch('{here}', {{mode: 'no-cors'}});</script>"
        )
    )
    page.wait_for_timeout(1500)
    assert sessions_of(gateway) == before
    page.goto(other_site(f"<form method=post action='{here}start'></form><script>document.forms[0].submit()</script>"))
    page.wait_for_selector("text=Refused")
    assert sessions_of(gateway) == before
    stranger = page.context.browser.new_context().new_page()  # nobody who has a session
    for _ in range(3):
        stranger.goto(other_site(f"<a href='{here}'>link</a>"))
        stranger.click("a")
        stranger.wait_for_selector("[action=start] button")
    stranger.context.close()
    assert sessions_of(gateway) == before
    for query in ("", "?token=wrong"):
        page.goto(other_site(f"<a href='{here}{query}'>link</a>"))
        page.click("a")
        page.wait_for_selector(".header")  # the session that there is
    assert page.url == here
    assert user.page.context.cookies() == cookies
    page.close()
    user.use_here()
    user.wait_for_volume()
    assert user.volume() == volume


@pytest.mark.slow
@pytest.mark.browser
def test_a_link_with_the_token_ends_no_session(browser, tmp_path, other_site):
    served = Gateway(tmp_path, "--token", TOKEN, "--sessions", "1")
    try:
        context = browser.new_context()
        context.set_default_timeout(START_MS)
        page = context.new_page()
        page.goto(other_site(f"<a href='{served.url}?token=a+long+token'>link</a>"))
        page.click("a")
        page.click("[action=start] button")
        page.wait_for_selector(".header")
        assert page.url == served.url
        cookies = context.cookies()
        again = context.new_page()
        for query in ("", "?token=a+long+token", "?token=wrong"):
            again.goto(other_site(f"<a href='{served.url}{query}'>link</a>"))
            again.click("a")
            again.wait_for_selector(".header")
        assert context.cookies() == cookies
        assert page.evaluate("fetch('alive').then(answer => answer.status)") == 200
        context.close()
    finally:
        assert served.stop() == 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM")
@pytest.mark.parametrize("started", [False, True])
def test_sigterm_ends_it_with_a_word_and_leaves_nothing(tmp_path, started):
    """With a session, and while the first process still starts, for which nobody waits."""
    pytest.importorskip("trame_slicer", reason="needs the extra web")
    served = Gateway(tmp_path)
    if started:
        assert ask(served.port, "/start", "POST")[0] == 303
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(60) == 0
    assert "All sessions are ended" in served.process.stdout.read()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.browser
def test_starting_and_a_server_that_is_gone_are_told(browser, tmp_path):
    served = Gateway(tmp_path)
    page = browser.new_page()
    page.set_default_timeout(START_MS)
    page.goto(served.url)
    assert page.is_hidden("#wait")
    page.evaluate("document.forms[0].addEventListener('submit', event => event.preventDefault())")  # it takes long
    page.click("[action=start] button")
    page.wait_for_selector("#wait")
    page.reload()
    page.click("[action=start] button")
    page.wait_for_selector(".header")
    assert served.stop() == 0
    page.wait_for_selector("text=this session has ended with it")
    page.close()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_what_a_killed_server_left_is_removed_by_the_next(tmp_path):
    pytest.importorskip("trame_slicer", reason="needs the extra web")
    killed = Gateway(tmp_path)
    killed.process.kill()
    killed.process.wait(60)
    (folder,) = tmp_path.glob("efficient-medsam2-web-*")
    other = tmp_path / "efficient-medsam2-web-x"  # of a server that just starts
    other.mkdir()
    served = Gateway(tmp_path)
    assert not folder.exists()
    assert other.exists()
    assert served.stop() == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0"], "--token"),
        (["--host", "192.168.1.7", "--token", ""], "--token"),
        (["no-such-scan.nii.gz"], "no-such-scan.nii.gz"),
        (["--port", "70000"], "--port"),
        (["--max-upload", "-1"], "--max-upload"),
        (["--sample", "scan.nii.gz"], "not both"),
    ],
)
def test_wrong_options_are_one_line_and_exit_code_2(options, words):
    pytest.importorskip("trame_slicer", reason="needs the extra web")
    done = subprocess.run([*WEB, *options], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
