"""The MLflow client's webhooks against `rondo server`, with a receiver on this machine."""

import base64
import hashlib
import hmac
import json
import queue
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import RONDO
from mlflow import MlflowClient, MlflowException
from mlflow.entities.webhook import WebhookEvent, WebhookStatus


@contextmanager
def serving(folder, *flags):
    process = subprocess.Popen(
        [RONDO, "server", "--listen", "127.0.0.1:0", "--data", str(folder), "--json", *flags],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )
    try:
        yield json.loads(process.stdout.readline())["listen"]
    finally:
        process.terminate()
        assert process.wait(timeout=120) == 0


class Receiver:
    """Keeps what it is told, and answers as it is asked to."""

    def __init__(self):
        self.told = queue.Queue()
        self.answers = queue.Queue()
        told, answers = self.told, self.answers

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                told.put((self.headers, body))
                status = 200 if answers.empty() else answers.get()
                self.send_response(status)
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, host="localhost"):
        return f"http://{host}:{self.server.server_port}/hook"

    def next(self):
        headers, body = self.told.get(timeout=60)
        return headers, body, json.loads(body)


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()


def event(told):
    return f"{told['entity']}.{told['action']}", told["data"]


def test_changes_are_told_in_mlflows_words_and_signed(tmp_path, receiver):
    with serving(tmp_path / "store", "--webhook-allow", "localhost") as url:
        client = MlflowClient(url, url)
        every = [
            "registered_model.created", "model_version.created", "model_version_tag.set",
            "model_version_tag.deleted", "model_version_alias.created", "model_version_alias.deleted",
        ]
        made = client.create_webhook(
            "hook", receiver.url(), [WebhookEvent.from_str(name) for name in every], secret="hush"
        )
        assert (made.status, made.secret) == (WebhookStatus.ACTIVE, None)
        assert [str(e) for e in client.get_webhook(made.webhook_id).events] == every

        result = client.test_webhook(made.webhook_id)
        assert (result.success, result.response_status, result.response_body) == (True, 200, "ok")
        assert receiver.next()[2]["data"]["name"] == "example_model"

        run = client.create_run("0").info
        client.create_registered_model("m", tags={"k": "v"}, description="d")
        source = f"{run.artifact_uri}/model"
        client.create_model_version("m", source, run.run_id, tags={"a": "b"}, description="one")
        client.set_model_version_tag("m", "1", "t", "x")
        client.delete_model_version_tag("m", "1", "t")
        client.set_registered_model_alias("m", "live", "1")
        client.delete_registered_model_alias("m", "live")
        told = {}
        for _ in every:
            headers, body, what = receiver.next()
            signed = f"{headers['X-MLflow-Delivery-Id']}.{headers['X-MLflow-Timestamp']}.{body}"
            digest = hmac.new(b"hush", signed.encode(), hashlib.sha256).digest()
            assert headers["X-MLflow-Signature"] == "v1," + base64.b64encode(digest).decode()
            name, data = event(what)
            told[name] = data
        assert told == {
            "registered_model.created": {"name": "m", "tags": {"k": "v"}, "description": "d"},
            "model_version.created": {
                "name": "m", "version": "1", "source": source, "run_id": run.run_id,
                "tags": {"a": "b"}, "description": "one",
            },
            "model_version_tag.set": {"name": "m", "version": "1", "key": "t", "value": "x"},
            "model_version_tag.deleted": {"name": "m", "version": "1", "key": "t"},
            "model_version_alias.created": {"name": "m", "alias": "live", "version": "1"},
            "model_version_alias.deleted": {"name": "m", "alias": "live"},
        }

        client.update_webhook(made.webhook_id, status=WebhookStatus.DISABLED)
        client.create_registered_model("unheard")
        # A redirect is an answer, and is not followed.
        receiver.answers.put(307)
        result = client.test_webhook(made.webhook_id)
        assert (result.success, result.response_status) == (False, 307)
        assert receiver.next()[2]["data"]["name"] == "example_model"
        client.delete_webhook(made.webhook_id)
        assert client.list_webhooks() == []


def test_what_could_not_be_told_is_told_after_a_restart(tmp_path, receiver):
    store = tmp_path / "store"
    with serving(store, "--webhook-allow", "127.0.0.0/8") as url:
        client = MlflowClient(url, url)
        events = [WebhookEvent.from_str("registered_model.created")]
        client.create_webhook("hook", receiver.url("127.0.0.1"), events)
        receiver.answers.put(503)
        client.create_registered_model("m")
        first = receiver.next()
    with serving(store, "--webhook-allow", "127.0.0.0/8"):
        again = receiver.next()
    assert again[1] == first[1]
    assert again[0]["X-MLflow-Delivery-Id"] == first[0]["X-MLflow-Delivery-Id"]


def test_prompts_are_told_as_prompts(tmp_path, receiver):
    with serving(tmp_path / "store", "--webhook-allow", "localhost") as url:
        client = MlflowClient(url, url)
        names = ["prompt.created", "prompt_version.created", "registered_model.created", "prompt_alias.created"]
        client.create_webhook("hook", receiver.url(), [WebhookEvent.from_str(name) for name in names])
        client.register_prompt("greeting", "Hello {{name}}!")
        client.set_prompt_alias("greeting", "live", 1)
        told = dict(event(receiver.next()[2]) for _ in range(3))
        assert told["prompt.created"]["name"] == "greeting"
        version = told["prompt_version.created"]
        assert (version["version"], version["template"]) == ("1", "Hello {{name}}!")
        assert told["prompt_alias.created"] == {"name": "greeting", "alias": "live", "version": "1"}


@pytest.mark.parametrize("target", [
    "http://example.com/", "https://127.0.0.1/", "https://localhost:8080/", "https://[::1]/",
    "https://[::ffff:127.0.0.1]/", "https://2130706433/", "https://10.0.0.1/", "https://192.168.0.1/",
    "https://169.254.169.254/latest/meta-data/", "https://[fd00:ec2::254]/", "file:///etc/passwd",
])
def test_a_webhook_is_no_way_into_the_servers_own_network(tmp_path, target):
    with serving(tmp_path / "store") as url:
        client = MlflowClient(url, url)
        with pytest.raises(MlflowException) as refused:
            client.create_webhook("hook", target, [WebhookEvent.from_str("model_version.created")])
        assert refused.value.error_code == "INVALID_PARAMETER_VALUE"
        assert client.list_webhooks() == []
