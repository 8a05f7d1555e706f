# Forks kernels from one process that has done their imports. Requests and answers are lines of JSON.
import ast, gc, json, os, select, signal, sys, threading

# What IPython's kernel imports when it is made.
LATER = [
    "IPython.core.debugger", "IPython.core.history", "IPython.extensions.storemagic", "ipykernel.debugger", "pdb",
    "pydoc", "sqlite3", "tornado.gen", "tornado.locks", "tornado.platform.asyncio", "tornado.queues",
]


def main():
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever an import prints is no answer
    global before
    before = dict(os.environ)
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    first = json.loads(read_line(0))
    preload()
    from IPython.core.inputtransformer2 import TransformerManager

    # What lies in the folder that this was started in is no part of what is preloaded.
    sys.path[:] = [place for place in sys.path if place not in ("", os.getcwd())]
    failed = {}
    for source in first["sources"]:
        for statement in imports(source, TransformerManager()):
            try:
                exec(statement, {"__name__": "__main__"})
            except BaseException as error:  # the run itself will say so where it matters
                failed[statement] = repr(error)
    busy = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        busy.append("CUDA")
    gc.collect()
    gc.freeze()  # what is here now is shared: no kernel's collections need look at it, or copy its pages
    answers.write(json.dumps({"ready": True, "busy": busy, "failed": failed}) + "\n")
    serve(answers)


def preload():
    """All that a kernel imports until it is ready."""
    import importlib

    import ipykernel.ipkernel, ipykernel.kernelapp, ipykernel.zmqshell  # noqa: F401

    sys.modules.setdefault("debugpy", None)  # see `start`
    for name in LATER:
        try:
            importlib.import_module(name)
        except ImportError:
            pass  # of another version
    if sys.modules["debugpy"] is None:
        del sys.modules["debugpy"]


def imports(source, transformer):
    """The import statements at the margin of a cell, whose magics are turned into calls first."""
    try:
        tree = ast.parse(transformer.transform_cell(source))
    except SyntaxError:
        return
    for node in tree.body:
        if isinstance(node, ast.Import):
            for name in node.names:
                if installed(name.name):
                    yield "import " + name.name
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and installed(node.module):
            yield ast.unparse(node)


def installed(name):
    """Whether a module is installed: one beside the notebook may differ from run to run."""
    import importlib.util

    try:
        spec = importlib.util.find_spec(name.split(".")[0])
    except (ImportError, ValueError):
        return False
    return spec is not None and name.split(".")[0] != "__main__"


def read_line(fd):
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(fd, 1)
        if not piece:
            return b""
        line += piece
    return line


def serve(answers):
    wake_out, wake_in = os.pipe()
    for fd in (wake_out, wake_in):
        os.set_blocking(fd, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_in, warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    running = set()
    while True:
        ready, _, _ = select.select([0, wake_out], [], [])
        if wake_out in ready:
            os.read(wake_out, 4096)
        reap(running, answers)
        if 0 not in ready:
            continue
        line = read_line(0)
        if not line:
            for pid in running:
                os.killpg(pid, signal.SIGKILL)
            os._exit(0)
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            os.close(wake_in), os.close(wake_out)
            return kernel(request)
        try:
            os.setpgid(pid, pid)
        except OSError:
            pass
        running.add(pid)
        answers.write(json.dumps({"id": request["id"], "pid": pid}) + "\n")


def reap(running, answers):
    while running:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if found is None:
            return
        if found.si_pid in running:
            try:
                os.killpg(found.si_pid, signal.SIGKILL)  # what it left running
            except OSError:
                pass
        pid, status, usage = os.wait4(found.si_pid, 0)
        running.discard(pid)
        answers.write(json.dumps({"ended": pid, "status": status, "peak": usage.ru_maxrss}) + "\n")


def mark(text):
    """Puts the kernel's mark where the server left room for it: by that the system tells whose a process is that was
    forked and starts no program."""
    text = text.encode()
    with open("/proc/self/stat", "rb") as file:
        start, end = map(int, file.read().rpartition(b")")[2].split()[47:49])
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        memory.seek(start)
        block = b"\0" + memory.read(end - start)
        name = text.partition(b"=")[0]
        at = block.find(b"\0" + name + b"=")
        room = block.find(b"\0", at + 1) - at - 1
        if at >= 0 and room >= len(text):
            memory.seek(start + at)
            memory.write(text.ljust(room, b"\0"))


def kernel(request):
    parent = os.getppid()
    os.setpgid(0, 0)
    try:
        mark(request["mark"])
    except (OSError, ValueError):
        pass  # what it forks by itself is then told by nothing
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for fd, path in ((1, request["out"]), (2, request["err"])):
        pipe = os.open(path, os.O_WRONLY)
        os.dup2(pipe, fd)
        os.close(pipe)
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")
    os.environ.clear()
    os.environ.update(before)
    os.environ.update(request["env"])
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    os.chdir(request["cwd"])
    import tempfile, time

    tempfile.tempdir = None
    time.tzset()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()  # as a process that was started would begin
    arguments = ["-f", request["file"], "--HistoryManager.hist_file=:memory:"]
    sys.argv = [launcher(), *arguments]
    start([*arguments, f"--IPKernelApp.parent_handle={parent}"])


main()
