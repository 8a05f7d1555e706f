"""Environments of every kind that this machine can make, and steps that are kept to what they declare."""

import os
import shutil
import signal
import subprocess

import pytest
from conftest import RONDO, Rondo, until


def needs(*programs):
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} is not here")


def project(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "rondo.yaml").write_text(text)
    return Rondo(folder)


def findings(rondo):
    return {finding["what"]: finding for finding in rondo.json("doctor")["findings"]}


@pytest.fixture(params=["landlock", "bubblewrap"])
def level(request, tmp_path):
    found = findings(Rondo(tmp_path))[request.param]
    if found["found"] is None:
        pytest.skip(f"{request.param}: {found['hint']}")
    return request.param


LOGGING = """
import json, os, urllib.request
body = {"run_id": os.environ["MLFLOW_RUN_ID"], "key": "loss", "value": 0.5, "timestamp": 1}
request = urllib.request.Request(
    os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/runs/log-metric", json.dumps(body).encode(),
    {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"]})
urllib.request.urlopen(request)
open(os.environ["RONDO_OUTPUT_O"], "w").write("ok")
"""


def test_doctor_shows_every_kind_with_what_was_found_or_what_to_do(tmp_path):
    found = findings(Rondo(tmp_path))
    for what in ["uv", "Rscript", "conda", "podman", "docker", "nix", "landlock", "bubblewrap"]:
        assert found[what]["found"] or found[what]["hint"], what


def test_an_isolated_step_logs_to_its_own_run_and_is_refused_what_it_does_not_declare(tmp_path, level):
    folder = tmp_path / "a project"
    rondo = project(folder, f"""
project: p
isolation: {level}
steps:
  log: {{ run: python3 log.py, outputs: {{ o: o.txt }} }}
  read: {{ run: cat extra.csv }}
""")
    (folder / "log.py").write_text(LOGGING)
    (folder / "extra.csv").write_text("secret")
    done = rondo("run", "--keep-going", code=7)
    assert "`extra.csv` is not declared as an input of `read`" in done.stderr
    assert "secret" not in done.stdout + done.stderr
    assert (folder / "o.txt").read_text() == "ok"
    assert level in done.stderr
    run = next(run for run in rondo.json("runs", "list", "--all")["runs"] if run["name"] == "log")
    shown = rondo("runs", "show", run["id"]).stdout
    assert f"isolated {level}" in shown and "loss" in shown


@needs("Rscript")
def test_r_with_the_packages_of_the_machine(tmp_path):
    rondo = project(tmp_path / "r", """
project: p
environments: { r: { r: "4", packages: [utils] } }
steps:
  a: { run: "Rscript -e 'cat(1 + 1)' > ${{ outputs.o }}", environment: r, outputs: { o: o.txt } }
""")
    rondo("run")
    assert (tmp_path / "r" / "o.txt").read_text() == "2"
    assert "environments:\n  r: " in (tmp_path / "r" / "rondo.lock").read_text()
    rondo = project(tmp_path / "r", """
project: p
environments: { r: { r: "4", packages: [no.such.package] } }
steps:
  a: { run: "true", environment: r }
""")
    done = rondo("run", code=8)
    assert "lacks R packages: `no.such.package`" in done.stderr and "--> rondo.yaml:3:" in done.stderr
    assert "apt-get install r-cran-no.such.package" in done.stderr


def test_a_kind_whose_tool_is_missing_says_what_to_install(tmp_path):
    if any(shutil.which(program) for program in ["conda", "mamba", "micromamba"]):
        pytest.skip("this machine has conda")
    rondo = project(tmp_path / "c", """
project: p
environments: { c: { conda: [numpy] } }
steps:
  a: { run: "true", environment: c }
""")
    done = rondo("run", code=8)
    assert "needs micromamba, mamba or conda" in done.stderr and "hint: install micromamba" in done.stderr
    assert "--> rondo.yaml:3:" in done.stderr


@pytest.mark.service
def test_without_a_network_an_environment_is_made_again_from_the_cache(tmp_path):
    rondo = project(tmp_path / "py", """
project: p
environments: { py: { python: ">=3.8", requirements: [iniconfig==2.0.0] } }
steps:
  a: { run: "python -c 'import iniconfig' && echo ok > ${{ outputs.o }}", environment: py, outputs: { o: o.txt } }
""")
    rondo("run")
    shutil.rmtree(tmp_path / "py" / ".rondo" / "envs")
    nowhere = {name: "http://127.0.0.1:9" for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"]}
    nowhere |= {"NO_PROXY": "", "no_proxy": "", "https_proxy": "http://127.0.0.1:9", "UV_HTTP_RETRIES": "0"}
    command = [os.environ.get("RONDO", "rondo"), "run", "--force"]

    def offline(**more):
        env = os.environ | nowhere | more
        return subprocess.run(command, cwd=rondo.folder, env=env, capture_output=True, text=True, check=False)

    done = offline()
    assert done.returncode == 0, done.stderr
    shutil.rmtree(tmp_path / "py" / ".rondo" / "envs")
    done = offline(UV_CACHE_DIR=str(tmp_path / "empty"))
    assert done.returncode == 7 and "iniconfig" in done.stderr


@pytest.mark.service
@needs("mmdebstrap", "bwrap")
def test_a_root_file_system_of_mmdebstrap(tmp_path):
    folder = tmp_path / "box"
    rondo = project(folder, """
project: p
environments: { box: { rootfs: box.tar } }
steps:
  a: { run: "bash ask.sh", environment: box, outputs: { o: o.txt } }
  b: { run: "cat extra.csv", environment: box }
""")
    subprocess.run(["mmdebstrap", "--variant=minbase", "bookworm", folder / "box.tar"], check=True)
    (folder / "extra.csv").write_text("secret")
    (folder / "ask.sh").write_text(ASKING)
    done = rondo("run", "--keep-going", code=7)
    assert "`extra.csv` is not declared as an input of `b`" in done.stderr
    assert (folder / "o.txt").read_text().splitlines()[0].startswith("HTTP/1.1 200")


# A container without Python logs a metric all the same.
ASKING = r"""
set -e
place=${MLFLOW_TRACKING_URI#http://}
exec 3<>/dev/tcp/${place%:*}/${place#*:}
body="{\"run_id\": \"$MLFLOW_RUN_ID\", \"key\": \"m\", \"value\": 3.5, \"timestamp\": 1}"
printf 'POST /api/2.0/mlflow/runs/log-metric HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %s\r\n\r\n%s' "$place" "$MLFLOW_TRACKING_TOKEN" "${#body}" "$body" >&3
head -1 <&3 > "$RONDO_OUTPUT_O"
cat /etc/debian_version >> "$RONDO_OUTPUT_O"
grep -q 200 "$RONDO_OUTPUT_O"
"""


@pytest.fixture
def image(tmp_path):
    """A small image that podman can start here."""
    if shutil.which("podman") is None:
        pytest.skip("podman is not here")
    tar = tmp_path / "image.tar"
    script = """set -e; mkdir -p box/bin box/tmp box/etc box/dev box/proc box/sys; echo 12 > box/etc/debian_version
        for p in sh bash cat head grep; do cp -L $(command -v $p) box/bin/$p
        for l in $(ldd $(command -v $p) | grep -o '/[^ ]*'); do mkdir -p box$(dirname $l); cp -L $l box$l; done; done
        tar -C box -cf image.tar ."""
    subprocess.run(["sh", "-c", script], cwd=tmp_path, check=True)
    name = "localhost/rondo-test:1"
    subprocess.run(["podman", "import", tar, name], check=True, capture_output=True)
    started = subprocess.run(["podman", "run", "--rm", "--network=host", name, "/bin/true"], capture_output=True, text=True)
    if started.returncode not in (0, 127):
        pytest.skip(f"podman cannot start a container here: {started.stderr}")
    yield name
    subprocess.run(["podman", "rmi", "-f", name], check=False, capture_output=True)


@pytest.mark.service
def test_a_container_image_of_podman(tmp_path, image):
    folder = tmp_path / "p"
    rondo = project(folder, f"""
project: p
environments: {{ box: {{ image: "{image}" }} }}
steps:
  a: {{ run: "bash ask.sh", environment: box, outputs: {{ o: o.txt }} }}
  b: {{ run: "cat extra.csv", environment: box }}
""")
    (folder / "extra.csv").write_text("secret")
    (folder / "ask.sh").write_text(ASKING)
    done = rondo("run", "--keep-going", code=7)
    assert "`extra.csv` is not declared as an input of `b`" in done.stderr
    assert (folder / "o.txt").read_text().splitlines()[0].startswith("HTTP/1.1 200")
    rondo("run", "a")
    left = subprocess.run(["podman", "ps", "-aq"], capture_output=True, text=True, check=True)
    assert left.stdout.strip() == ""


@pytest.mark.service
@pytest.mark.parametrize("guarded", [True, False])
def test_a_container_that_a_killed_run_left_is_stopped(tmp_path, image, guarded):
    folder = tmp_path / "k"
    rondo = project(folder, f"""
project: k
environments: {{ box: {{ image: "{image}" }} }}
steps:
  a: {{ run: "echo up; while true; do head -c 1000 /dev/zero > /dev/null; done", environment: box }}
""")
    names = lambda: subprocess.run(["podman", "ps", "-a", "--format", "{{.Names}}"], capture_output=True, text=True).stdout.split()
    running = subprocess.Popen([RONDO, "run"], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(names)
    until(lambda: any(log.read_text() == "up\n" for log in folder.glob(".rondo/work/*/a/log")))
    if not guarded:
        # What ends the processes when Rondo dies is killed as well.
        guards = subprocess.run(["pgrep", "-P", str(running.pid), "-f", "rondo-guard"], capture_output=True, text=True)
        for guard in guards.stdout.split():
            os.kill(int(guard), signal.SIGKILL)
    running.kill()
    running.communicate()
    (folder / "rondo.yaml").write_text("project: k\nsteps: { b: { run: 'true' } }\n")
    rondo("run")
    until(lambda: not names())


@pytest.mark.service
@needs("nix-build")
def test_what_nix_builds_comes_first_in_the_path(tmp_path):
    folder = tmp_path / "n"
    rondo = project(folder, """
project: p
environments: { n: { nix: tools.nix } }
steps:
  a: { run: "hello > ${{ outputs.o }}", environment: n, outputs: { o: o.txt } }
""")
    (folder / "tools.nix").write_text("""derivation {
      name = "tools"; system = builtins.currentSystem; builder = "/bin/sh";
      args = [ "-c" "/bin/mkdir -p $out/bin; echo '#!/bin/sh' > $out/bin/hello; echo 'echo hi' >> $out/bin/hello; /bin/chmod +x $out/bin/hello" ];
    }""")
    os.environ.setdefault("NIX_CONFIG", "sandbox = false\nbuild-users-group =\nsubstituters =")
    rondo("run")
    assert (folder / "o.txt").read_text() == "hi\n"
    assert "1 cached" in rondo("run").stdout
