"""Apps: supervised, by way of the server, with their sockets; the real frameworks in a real browser."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from conftest import RONDO, Rondo
from security.conftest import PASSWORD, admin

HERE = Path(__file__).parent
SCREENS = HERE.parent / "target" / "e2e-screens"
PLAIN = f"exec {sys.executable} plain.py {{port}}"
RAISED = 120


def until(look, what, seconds=RAISED):
    """Waits for something to be true; says what never was."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(requests.RequestException):
            if found := look():
                return found
        time.sleep(0.1)
    raise AssertionError(f"not in {seconds} s: {what}")


class Up:
    """A project that is up."""

    def __init__(self, folder, *args):
        self.rondo = Rondo(folder)
        self.process = subprocess.Popen(
            [RONDO, "up", "--listen", "127.0.0.1:0", "--json", *args], cwd=folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )
        self.told = json.loads(self.process.stdout.readline())
        self.url = self.told["listen"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(timeout=120) == 0

    def app(self, name):
        apps = requests.get(f"{self.url}/api/v1/apps", timeout=60).json()
        return next(app for app in apps if app["name"] == name)

    def running(self, name, seconds=RAISED):
        try:
            return until(lambda: (app := self.app(name))["state"] == "running" and app, f"{name} runs", seconds)
        except AssertionError:
            raise AssertionError(self.app(name)) from None

    def get(self, path, **more):
        return requests.get(self.url + path, timeout=60, **more)

    def socket(self, path, **headers):
        """The status of a handshake, and its connection."""
        host = urlsplit(self.url).netloc
        sock = socket.create_connection((urlsplit(self.url).hostname, urlsplit(self.url).port), timeout=60)
        lines = {"Host": host, "Upgrade": "websocket", "Connection": "Upgrade", "Origin": self.url,
                 "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13", **headers}
        text = "".join(f"{key}: {value}\r\n" for key, value in lines.items())
        sock.sendall(f"GET {path} HTTP/1.1\r\n{text}\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = sock.recv(1)
            if not byte:
                break
            head += byte
        return int(head.split()[1]), sock


def move(up, version):
    """Moves the champion from one of two versions to the other."""
    other = {1: 2, 2: 1}[version]
    if other == 2:
        up.rondo("models", "approve", "iris/2", "--force", "--why", "for the app")
    moved = requests.post(f"{up.url}/api/2.0/mlflow/registered-models/alias", timeout=60,
                          json={"name": "iris", "alias": "champion", "version": str(other)})
    assert moved.status_code == 200, moved.text
    return other


def of(folder):
    """The processes that were started in a project's store."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"RONDO_STEP_FILE={folder}/.rondo/".encode() in environ.read_bytes():
                found.append(int(environ.parent.name))
    return found


@pytest.fixture
def plain(tmp_path):
    """A project whose apps need nothing installed."""
    folder = tmp_path / "a project"
    folder.mkdir()
    shutil.copy(HERE / "apps" / "plain.py", folder)
    (folder / "page.html").write_text("<h1>a page</h1>")
    (folder / "rondo.yaml").write_text(f"""
project: plain
params: {{ greeting: "it's me" }}
steps:
  make:
    run: echo 42 > ${{{{ outputs.answer }}}}
    outputs: {{ answer: answer.txt }}
apps:
  echo:
    run: "{PLAIN} ${{{{ params.greeting }}}}"
    inputs: [make.answer]
    restarts: 3
  broken: {{ run: "echo oh no; exit 3 # {{port}}", restarts: 1 }}
  silent: {{ run: "exec sleep 1000 # {{port}}", start_timeout: 1s, restarts: 0 }}
  page: {{ files: page.html }}
  desk: {{ run: "{PLAIN}", access: admin }}
""")
    Rondo(folder)("run")
    return folder


def test_an_app_has_its_artifacts_and_is_told_of(plain):
    with Up(plain) as up:
        up.running("echo")
        said = up.get("/apps/echo/some/where?q=1").json()
        assert said["path"] == "/apps/echo/some/where?q=1"
        assert said["given"]["RONDO_BASE_PATH"] == "/apps/echo"
        assert said["given"]["RONDO_PARAM_GREETING"] == "it's me"
        assert said["given"]["MLFLOW_TRACKING_URI"] == up.url
        assert said["files"]["RONDO_INPUT_ANSWER"] == "42\n"
        assert json.loads(Path(said["given"]["RONDO_STEP_FILE"]).read_text())["inputs"].keys() == {"answer"}
        assert said["headers"]["x-forwarded-host"] == urlsplit(up.url).netloc
        bare = up.get("/apps/echo?q=1", allow_redirects=False)
        assert (bare.status_code, bare.headers["location"]) == (308, "/apps/echo/?q=1")
        assert up.get("/apps/echo/").headers["set-cookie"] == "seen=1; Path=/apps/echo/"
        assert up.get("/apps/page/").text == "<h1>a page</h1>"
        for hostile in ["/apps/nothing/", "/apps/%65cho/", "/apps//echo/", "/apps/page/../../rondo.yaml"]:
            request = requests.Request("GET", up.url).prepare()
            request.url = up.url + hostile
            assert requests.Session().send(request, timeout=60).status_code == 404, hostile
        # More than a server of requests would hold in its hands.
        big = requests.post(f"{up.url}/apps/echo/up", data=bytes(64 << 20), timeout=60)
        assert big.json() == {"got": 64 << 20}
        app = up.app("echo")
        assert (app["state"], app["uses"], app["restarts"]) == ("running", "command", 0)
        assert app["inputs"]["answer"].startswith("make.answer ")
        (line,) = [line for line in up.rondo.json("status")["apps"] if line["app"] == "echo"]
        assert line["state"] == "running" and line["url"] == f"{up.url}/apps/echo/"
        home = up.get("/").text
        assert "<h2>Apps</h2>" in home and 'href="/apps/echo/"' in home
    assert of(plain) == []
    assert {app["state"] for app in up.rondo.json("app", "status")["apps"]} == {"down"}
    assert up.rondo.json("app", "stop", "echo", code=8)["error"]["code"] == "app-unavailable"


def test_a_page_of_another_origin_reaches_no_app(plain):
    with Up(plain) as up:
        up.running("echo")
        status, sock = up.socket("/apps/echo/ws")
        assert status == 101
        for size in [1, 100_000, 3_000_000]:
            sock.settimeout(30)
            data = os.urandom(size)
            got, sent = b"", 0
            while len(got) < size:
                if sent < size:
                    sent += sock.send(data[sent:sent + 50_000])
                got += sock.recv(1 << 16)
            assert got == data
        # Another port of the same host is another origin here: cookies do not tell ports apart.
        port = urlsplit(up.url).port
        for origin in ["http://evil.example", f"http://127.0.0.1:{port + 1}", f"http://localhost:{port}", "null"]:
            assert up.socket("/apps/echo/ws", Origin=origin)[0] == 403, origin
            refused = requests.post(f"{up.url}/apps/echo/", headers={"Origin": origin}, data=b"x", timeout=60)
            assert refused.status_code == 403, origin
        assert up.socket("/apps/page/")[0] == 200, "files turn to no other protocol"
        sock.close()


def test_an_app_that_dies_comes_back_and_one_that_cannot_live_is_given_up(plain):
    with Up(plain) as up:
        up.running("echo")
        first = up.get("/apps/echo/").json()["pid"]
        os.kill(first, signal.SIGKILL)
        until(lambda: up.app("echo")["restarts"] == 1, "its end is seen")
        up.running("echo")
        second = up.get("/apps/echo/").json()["pid"]
        assert second != first
        assert up.get("/apps/echo/die").status_code == 502
        dead = until(lambda: (app := up.app("echo"))["restarts"] == 2 and app, "it died again")
        if dead["state"] != "running":
            assert "code 9" in dead["error"] and "these are my last words" in dead["tail"]
            page = up.get("/apps/echo/", headers={"Accept": "text/html"})
            assert page.status_code == 200 or (page.status_code == 503 and "last words" in page.text)
        up.running("echo")
        failed = until(lambda: (app := up.app("broken"))["state"] == "failed" and app, "it is given up")
        assert (failed["restarts"], failed["tail"]) == (1, ["oh no"]) and "code 3" in failed["error"]
        shown = up.rondo("app", "status", "broken").stdout
        assert "| oh no" in shown and "failed" in shown
        silent = until(lambda: (app := up.app("silent"))["state"] == "failed" and app, "it is given up")
        assert "not ready" in silent["error"]
        assert up.get("/apps/silent/").status_code == 503
        assert up.rondo.json("app", "start", "broken", code=8)["error"]["code"] == "app-unavailable"


def test_an_app_whose_program_is_not_there_is_started_once(tmp_path):
    (tmp_path / "rondo.yaml").write_text("""
project: p
apps:
  board: { run: "exec no-such-program --port {port}" }
  local: { run: "exec ./board.sh {port}" }
""")
    (tmp_path / "board.sh").write_text("#!/bin/sh\nexit 1\n")
    with Up(tmp_path) as up:
        for name, why in [("board", "`no-such-program` is not on this machine's PATH (hint: install it"),
                          ("local", "`./board.sh` cannot be executed (hint: chmod +x ./board.sh)")]:
            failed = until(lambda: (app := up.app(name))["state"] == "failed" and app, "it is given up")
            assert failed["restarts"] == 0 and failed["error"].startswith(why), failed
        (tmp_path / "board.sh").chmod(0o755)
        up.rondo("app", "start", "local", "--no-wait")
        until(lambda: up.app("local")["restarts"] > 0, "what is there and dies is started again")


def test_a_secret_that_an_app_says_is_not_in_its_log(tmp_path, monkeypatch):
    package = tmp_path / "packages/tell/package.yaml"
    package.parent.mkdir(parents=True)
    package.write_text(
        "name: tell\nversion: 1.0.0\nsummary: Tells\nparams: { token: { type: secret } }\n"
        "run: { service: 'echo it is $RONDO_PARAM_TOKEN; exit 3' }\n"
    )
    (tmp_path / "rondo.yaml").write_text(
        "project: p\napps:\n  tell: { uses: ./packages/tell, with: { token: { from_env: APP_TOKEN } }, restarts: 0 }\n"
    )
    monkeypatch.setenv("APP_TOKEN", "hunter22")
    with Up(tmp_path) as up:
        failed = until(lambda: (app := up.app("tell"))["state"] == "failed" and app, "it is given up")
        assert failed["tail"] == ["it is [secret token]"]
    assert "hunter22" not in (tmp_path / ".rondo/apps/tell.log").read_text()


def test_apps_are_stopped_started_and_read_from_another_terminal(plain):
    with Up(plain) as up:
        first = up.running("echo")
        pid = up.get("/apps/echo/").json()["pid"]
        assert up.rondo.json("app", "stop", "echo")["app"]["state"] == "stopped"
        assert not Path(f"/proc/{pid}").exists()
        assert up.get("/apps/echo/").status_code == 503
        assert up.rondo.json("app", "start", "echo")["app"]["state"] == "running"
        again = up.get("/apps/echo/").json()["pid"]
        assert again != pid
        status, sock = up.socket("/apps/echo/ws")
        assert status == 101
        assert up.rondo.json("app", "restart", "echo")["app"]["since"] != first["since"]
        assert up.get("/apps/echo/").json()["pid"] != again
        sock.sendall(b"still there")
        assert sock.recv(100) == b"still there", "the old process finishes what is open"
        assert Path(f"/proc/{again}").exists()
        sock.close()
        until(lambda: not Path(f"/proc/{again}").exists(), "the old process ends when nothing is open")
        assert "listening" in up.rondo("app", "logs", "echo", "-n", "500").stdout
        assert "did you mean `echo`" in up.rondo("app", "stop", "ecko", code=3).stderr
        told = requests.post(f"{up.url}/api/v1/apps/echo/stop", timeout=60)
        assert told.status_code == 202
        until(lambda: up.app("echo")["state"] == "stopped", "it stops")
        assert requests.post(f"{up.url}/api/v1/apps/echo/jump", timeout=60).status_code == 400
        assert requests.post(f"{up.url}/api/v1/apps/nothing/stop", timeout=60).status_code == 404


def test_no_process_is_left_when_rondo_is_killed(plain):
    with Up(plain) as up:
        up.running("echo")
        assert of(plain)
        up.process.kill()
        up.process.wait()
        until(lambda: not of(plain), "its processes end with it")
    with Up(plain) as up:
        up.running("echo")
        assert up.get("/apps/echo/").json()["files"]["RONDO_INPUT_ANSWER"] == "42\n"


def test_an_app_that_can_do_anything_asks_for_its_key(plain):
    with Up(plain) as up:
        up.running("desk")
        assert up.get("/apps/desk/").status_code == 403
        assert up.get("/apps/desk/?rondo_key=0").status_code == 403
        assert up.socket("/apps/desk/ws")[0] == 403
        opens = up.told["apps"]["desk"]
        assert opens == next(app["address"] for app in up.rondo.json("app", "status", "desk")["apps"])
        session = requests.Session()
        said = session.get(opens, timeout=60)
        assert said.json()["path"] == "/apps/desk/" and said.url == f"{up.url}/apps/desk/"
        cookie = session.cookies["rondo_key"]
        assert "rondo_key" not in said.text and cookie in opens
        assert session.get(f"{up.url}/apps/desk/more", timeout=60).status_code == 200
        assert up.socket("/apps/desk/ws", Cookie=f"rondo_key={cookie}")[0] == 101
        assert (plain / ".rondo/apps/state.json").stat().st_mode & 0o777 == 0o600


def test_users_use_the_apps_that_they_may(plain):
    store = plain / ".rondo"
    admin(store, "user", "add", "root", "--role", "admin", password=PASSWORD + "\n")
    for role in ["viewer", "editor"]:
        admin(store, "user", "add", role, "--role", role, password=PASSWORD + "\n")
    with Up(plain, "--auth") as up:
        def status(path, user=None, method="get"):
            auth = (user, PASSWORD) if user else None
            return requests.request(method, up.url + path, auth=auth, timeout=60).status_code

        until(lambda: status("/apps/desk/", "root") == 200, "the apps run")
        until(lambda: status("/apps/echo/", "root") == 200, "the apps run")
        assert status("/apps/echo/") == 401 and status("/api/v1/apps") == 401
        for user, echo, desk, stop in [("viewer", 200, 403, 403), ("editor", 200, 403, 202), ("root", 200, 200, 202)]:
            assert status("/apps/echo/", user) == echo, user
            assert status("/apps/desk/", user) == desk, user
            assert status("/api/v1/apps", user) == 200, user
            assert status("/api/v1/apps/page/restart", user, "post") == stop, user
        said = requests.get(f"{up.url}/apps/echo/", auth=("viewer", PASSWORD), timeout=60).json()
        headers = {key.lower(): value for key, value in said["headers"].items()}
        assert headers["x-forwarded-user"] == "viewer" and "authorization" not in headers


def test_a_moved_alias_swaps_the_process(copy):
    shutil.copy(HERE / "apps" / "plain.py", copy.folder)
    with open(copy.folder / "rondo.yaml", "a") as file:
        file.write(f"\napps:\n  look: {{ run: \"{PLAIN}\", inputs: {{ model: iris@champion }}, drain: 5s }}\n")
    copy("run", "--param", "trees=21")
    with Up(copy.folder) as up:
        up.running("look")
        before = up.get("/apps/look/").json()
        version = int(before["given"]["RONDO_INPUT_MODEL_VERSION"])
        assert before["given"]["RONDO_INPUT_MODEL"].endswith(".onnx")
        status, sock = up.socket("/apps/look/ws")
        assert status == 101
        other = move(up, version)
        seen = []

        def swapped():
            said = up.get("/apps/look/")
            seen.append(said.status_code)
            return said.json()["given"]["RONDO_INPUT_MODEL_VERSION"] == str(other)

        until(swapped, "the new version answers")
        assert set(seen) == {200}, "it answers all the while"
        assert up.app("look")["inputs"]["model"] == f"iris@champion version {other}"
        sock.sendall(b"hello")
        assert sock.recv(100) == b"hello", "what was open goes on with the old process"
        sock.settimeout(60)
        assert sock.recv(100) == b"", "for the stated time"
        until(lambda: not Path(f"/proc/{before['pid']}").exists(), "the old process has ended")


# The real frameworks, in a real browser.

FLAGS = ["--disable-gpu", "--disable-background-networking", "--no-first-run"]


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="the package playwright is not installed: run e2e/services.sh"
    )
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    flags = FLAGS + (["--no-sandbox"] if os.geteuid() == 0 else [])
    SCREENS.mkdir(parents=True, exist_ok=True)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()


@contextlib.contextmanager
def visit(browser, url, **context):
    """A page, and what the browser complained about."""
    context = browser.new_context(viewport={"width": 1100, "height": 800}, **context)
    page = context.new_page()
    page.sockets = []
    page.on("websocket", lambda socket: page.sockets.append(socket.url))
    page.set_default_timeout(60_000)
    page.goto(url)
    try:
        yield page
    finally:
        context.close()


@pytest.mark.service
def test_streamlit_in_a_browser(chromium, copy):
    folder = copy.folder
    shutil.copy(HERE / "apps" / "flowers_app.py", folder)
    with open(folder / "rondo.yaml", "a") as file:
        file.write("""
apps:
  flowers: { uses: streamlit, with: { script: flowers_app.py }, inputs: { model: iris@champion, test: prepare.test } }
""")
    copy("run", "--param", "trees=21")
    store = folder / ".rondo"
    with Up(folder) as up:
        up.running("flowers", seconds=300)
        with visit(chromium, f"{up.url}/apps/flowers/") as page:
            page.get_by_role("heading", name="Flowers of version").wait_for()
            assert page.sockets == [f"{up.url.replace('http', 'ws')}/apps/flowers/_stcore/stream"]
            version = int(re.search(r"version (\d+)", page.get_by_role("heading", level=1).inner_text())[1])
            page.get_by_label("Rows").fill("7")
            page.get_by_label("Rows").press("Enter")
            page.get_by_text("7 rows are shown").wait_for()
            # Streamlit's check of forged requests is on: the page sends its token, and what has none is refused.
            page.locator("input[type=file]").set_input_files(
                {"name": "some.bin", "mimeType": "application/octet-stream", "buffer": bytes(5_000_000)}
            )
            page.get_by_text("got 5000000 bytes").wait_for()
            page.screenshot(path=SCREENS / "app-streamlit.png")
            forged = requests.put(
                f"{up.url}/apps/flowers/_stcore/upload_file/a/b", files={"a": b"x"}, timeout=60,
                headers={"Origin": up.url},
            )
            assert forged.status_code == 403, forged.status_code
            for origin in ["http://evil.example", f"http://127.0.0.1:{urlsplit(up.url).port + 1}"]:
                assert up.socket("/apps/flowers/_stcore/stream", Origin=origin)[0] == 403
            # Its process is killed: the page finds the next one by itself.
            (pid, *_) = [pid for pid in of(folder) if b"streamlit" in Path(f"/proc/{pid}/cmdline").read_bytes()]
            os.kill(pid, signal.SIGKILL)
            until(lambda: up.app("flowers")["restarts"] == 1, "its end is seen")
            up.running("flowers")
            page.get_by_label("Rows").fill("3")
            page.get_by_label("Rows").press("Enter")
            page.get_by_text("3 rows are shown").wait_for()
            # The alias moves: a new process takes over.
            other = move(up, version)
            until(lambda: str(other) in up.app("flowers")["inputs"]["model"], "the new version runs")
            page.reload()
            page.get_by_role("heading", name=f"Flowers of version {other}").wait_for()
        with visit(chromium, up.url) as page:
            page.get_by_role("region", name="apps").get_by_role("link", name="flowers").wait_for()
            page.screenshot(path=SCREENS / "home-apps.png", full_page=True)
    assert of(folder) == []
    admin(store, "user", "add", "root", "--role", "admin", password=PASSWORD + "\n")
    admin(store, "user", "add", "ada", "--role", "viewer", password=PASSWORD + "\n")
    with Up(folder, "--auth") as up:
        until(lambda: requests.get(f"{up.url}/apps/flowers/", auth=("ada", PASSWORD), timeout=60).status_code == 200,
              "the app runs", seconds=120)
        with visit(chromium, f"{up.url}/apps/flowers/",
                   http_credentials={"username": "ada", "password": PASSWORD}) as page:
            page.get_by_role("heading", name="Flowers of version").wait_for()
            page.get_by_text("this is ada").wait_for()


@pytest.mark.service
def test_jupyterlab_in_a_browser(chromium, tmp_path):
    folder = tmp_path / "lab"
    folder.mkdir()
    cell = {"cell_type": "code", "execution_count": None, "id": "a", "metadata": {}, "outputs": [],
            "source": "import os; print('the answer is', 6 * 7, 'in', os.path.basename(os.getcwd()))"}
    spec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    book = {"cells": [cell], "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "book.ipynb").write_text(json.dumps(book))
    (folder / "rondo.yaml").write_text("project: lab\napps: { lab: { uses: jupyterlab } }\n")
    with Up(folder) as up:
        up.running("lab", seconds=600)
        assert up.get("/apps/lab/lab").status_code == 403
        opens = up.told["apps"]["lab"]
        with visit(chromium, opens) as page:
            page.get_by_role("main").or_(page.locator("#main")).first.wait_for()
            page.goto(f"{up.url}/apps/lab/lab/tree/book.ipynb")
            page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
            page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
            page.locator(".jp-Notebook .jp-CodeCell .cm-content").first.click()
            page.keyboard.press("Shift+Enter")
            page.get_by_text("the answer is 42 in lab").wait_for()
            page.keyboard.press("Control+s")
            page.screenshot(path=SCREENS / "app-jupyterlab.png")
            token = until(lambda: [pid for pid in of(folder) if b"labapp" in Path(f"/proc/{pid}/cmdline").read_bytes()],
                          "its process")
            environ = Path(f"/proc/{token[0]}/environ").read_bytes().split(b"\0")
            (secret,) = [line.split(b"=")[1].decode() for line in environ if line.startswith(b"JUPYTER_TOKEN=")]
            assert secret not in page.content()
            until(lambda: "the answer is 42" in (folder / "book.ipynb").read_text(), "the notebook is saved")
    assert of(folder) == [], "its kernels end with it"
