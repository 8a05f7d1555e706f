# Starts IPython's kernel in this process as `python -m ipykernel_launcher` does, but for what a run that nobody
# sits in front of has no use for.
def start(arguments):
    import gc, sys

    # A third of a start is the import of the debugger. For the kernel it is not installed; for cells it is.
    hidden = sys.modules.setdefault("debugpy", None) is None
    # Imports make much and leave little behind.
    collects = gc.isenabled()
    gc.disable()
    try:
        from ipykernel.kernelapp import IPKernelApp

        app = IPKernelApp.instance()
        app.initialize(arguments)
    finally:
        if hidden:
            sys.modules.pop("debugpy", None)
        if collects:
            gc.enable()
    app.start()


def launcher():
    """The file whose name a kernel's command line begins with."""
    import importlib.util, sys

    found = importlib.util.find_spec("ipykernel_launcher")
    if found is None:
        sys.exit(f"{sys.executable}: No module named ipykernel_launcher")
    return found.origin
