"""An app of the standard library: says what it was given, echoes what comes by a socket, and dies when asked."""

import contextlib
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.endswith("/die"):
            print("these are my last words", flush=True)
            os._exit(9)
        if self.headers.get("Upgrade"):
            return self.echo()
        given = {key: value for key, value in os.environ.items() if key.startswith(("RONDO_", "MLFLOW_"))}
        files = {key: open(path, "rb").read(100).decode(errors="replace")
                 for key, path in given.items() if key.startswith("RONDO_INPUT_") and os.path.isfile(path)}
        return self.say({"pid": os.getpid(), "path": self.path, "given": given, "files": files,
                         "headers": dict(self.headers)})

    def do_POST(self):
        left, got = int(self.headers["Content-Length"]), 0
        while left:
            part = self.rfile.read(min(left, 1 << 16))
            left, got = left - len(part), got + len(part)
        self.say({"got": got})

    def say(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "seen=1; Path=/")
        self.end_headers()
        self.wfile.write(body)

    def echo(self):
        self.send_response(101)
        self.send_header("Upgrade", self.headers["Upgrade"])
        self.send_header("Connection", "Upgrade")
        self.end_headers()
        self.wfile.flush()
        with contextlib.suppress(ConnectionError):
            while part := self.connection.recv(1 << 16):
                self.connection.sendall(part)
        self.close_connection = True


print("listening", flush=True)
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), App).serve_forever()
