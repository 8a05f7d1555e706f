"""Serves a folder of pages."""

import functools
import http.server
import os

folder = os.environ.get("RONDO_INPUT_PAGES", ".")
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), handler).serve_forever()
