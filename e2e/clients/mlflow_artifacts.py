#!/usr/bin/env python3
"""Drives the artifacts of a Rondo server with the unchanged MLflow client, large files in parts.

    python mlflow_artifacts.py http://127.0.0.1:5000 [megabytes]

Needs `mlflow` 3.12 or newer (`mlflow-skinny` will do). The first surprise ends the script with a traceback.
"""

import hashlib
import os
import pathlib
import sys
import tempfile

MEGABYTES = int(sys.argv[2]) if len(sys.argv) > 2 else 12
os.environ.update({
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "GIT_PYTHON_REFRESH": "quiet",
    # What is large, so that the test is small.
    "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": str(5 << 20),
    "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE": str(5 << 20),
    "MLFLOW_MULTIPART_DOWNLOAD_CHUNK_SIZE": str(5 << 20),
    # Clients before 3.17 do not ask the server.
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "true",
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "true",
})

import mlflow
import requests
from mlflow import MlflowClient
from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository
from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

CALLS = []


def spied(kind, name):
    """Notes down that the client called something."""
    inner, static = getattr(kind, name), isinstance(kind.__dict__[name], staticmethod)

    def call(*args, **kwargs):
        CALLS.append(name)
        return inner(*args, **kwargs)

    setattr(kind, name, staticmethod(call) if static else call)


for name in ["_upload_part", "complete_multipart_upload", "abort_multipart_upload", "_multipart_download"]:
    spied(HttpArtifactRepository, name)


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def large(folder, name="large.bin"):
    """A file that no compression and no deduplication makes small."""
    path = pathlib.Path(folder) / name
    with open(path, "wb") as file:
        for _ in range(MEGABYTES):
            file.write(os.urandom(1 << 20))
        file.write(b"and a bit")
    return path


def parts_and_ranges(client, run, folder):
    path = large(folder)
    client.log_artifact(run, str(path), "deep/er")
    parts = -(-path.stat().st_size // (5 << 20))
    assert CALLS.count("_upload_part") == parts and CALLS.count("complete_multipart_upload") == 1, CALLS
    (listed,) = client.list_artifacts(run, "deep/er")
    assert (listed.path, listed.file_size) == ("deep/er/large.bin", path.stat().st_size)
    back = client.download_artifacts(run, "deep/er/large.bin", str(pathlib.Path(folder) / "back"))
    assert digest(back) == digest(path)
    assert "_multipart_download" in CALLS, CALLS


def a_part_that_fails(client, run, folder):
    """The client gives the upload up, and nothing of it is there."""
    CALLS.clear()
    path, send = large(folder, "torn.bin"), HttpArtifactRepository._upload_part

    def torn(credential, local_file, size, start_byte):
        if start_byte:
            raise OSError("torn")
        return send(credential, local_file, size, start_byte)

    HttpArtifactRepository._upload_part = staticmethod(torn)
    try:
        client.log_artifact(run, str(path), "torn")
    except Exception as error:
        assert "torn" in str(error), error
    else:
        raise AssertionError("the upload was not refused")
    finally:
        HttpArtifactRepository._upload_part = staticmethod(send)
    assert CALLS.count("abort_multipart_upload") == 1, CALLS
    assert client.list_artifacts(run, "torn") == []


def small_files(client, run, folder):
    tree = pathlib.Path(folder) / "tree"
    (tree / "sub" / "é ü").mkdir(parents=True)
    (tree / "a b.txt").write_text("1")
    (tree / "sub" / "é ü" / "x;y+z.json").write_text("{}")
    (tree / "sub" / "empty").touch()
    client.log_artifacts(run, str(tree), "tree")
    back = pathlib.Path(client.download_artifacts(run, "tree", str(pathlib.Path(folder) / "again")))
    files = lambda root: {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    assert files(back) == files(tree)
    assert [f.path for f in client.list_artifacts(run, "tree")] == ["tree/a b.txt", "tree/sub"]
    assert client.list_artifacts(run, "tree/a b.txt") == []
    client.log_text(run, "again", "tree/a b.txt")
    assert mlflow.artifacts.load_text(f"runs:/{run}/tree/a b.txt") == "again"
    MlflowArtifactsRepository(client.get_run(run).info.artifact_uri).delete_artifacts("tree/sub")
    assert [f.path for f in client.list_artifacts(run, "tree")] == ["tree/a b.txt"]


def going_on_with_a_download(client, run, url):
    """With plain HTTP, as `curl -C -` does it."""
    client.log_text(run, "0123456789", "ten.txt")
    uri = client.get_run(run).info.artifact_uri.removeprefix("mlflow-artifacts:/")
    address = f"{url}/api/2.0/mlflow-artifacts/artifacts/{uri}/ten.txt"
    first = requests.get(address, headers={"Range": "bytes=0-3"})
    assert (first.status_code, first.text) == (206, "0123")
    rest = requests.get(address, headers={"Range": "bytes=4-", "If-Range": first.headers["ETag"]})
    assert (rest.status_code, rest.text) == (206, "456789")
    client.log_text(run, "another", "ten.txt")
    rest = requests.get(address, headers={"Range": "bytes=4-", "If-Range": first.headers["ETag"]})
    assert (rest.status_code, rest.text) == (200, "another")
    seen = requests.get(address, headers={"If-None-Match": rest.headers["ETag"]})
    assert (seen.status_code, seen.content) == (304, b"")


def main():
    url = sys.argv[1]
    mlflow.set_tracking_uri(url)
    client = MlflowClient()
    run = client.create_run("0").info.run_id
    with tempfile.TemporaryDirectory() as folder:
        parts_and_ranges(client, run, folder)
        a_part_that_fails(client, run, folder)
        small_files(client, run, folder)
        going_on_with_a_download(client, run, url)
    print("ok", mlflow.__version__)


if __name__ == "__main__":
    main()
