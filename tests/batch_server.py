"""A provider on loopback that speaks the files and batches of the OpenAI protocol, and bills.

Rows are done a few at each look, in an order of their own. `faults` says, for the nth request, what
goes wrong with it, before or after it took effect; `before` and `after` are called at each request.
`billed` is the provider's ledger: how often each custom_id was in a batch that was created.
"""

import json
import random
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Provider:
    """Files and batches in memory; usable from the server's threads."""

    def __init__(self, *, pace: int = 3, seed: int = 0) -> None:
        self.lock = getattr(self, "lock", None) or threading.RLock()
        self.idle = getattr(self, "idle", None) or threading.Condition()
        self.connections = getattr(self, "connections", 0)
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.results: dict[str, dict[str, list[dict[str, Any]]]] = {}
        self.billed: Counter[str] = Counter()
        self.requests: list[str] = []
        self.address: tuple[str, int] = getattr(self, "address", ("127.0.0.1", 0))
        self.faults: dict[int, str] = {}
        self.before: Callable[[int], None] = lambda number: None
        self.after: Callable[[int], None] = lambda number: None
        self.failing: set[str] = set()
        self.missing: set[str] = set()
        self.twisted: Callable[[list[dict[str, Any]]], None] = lambda rows: None
        self.text: Callable[[str, dict[str, Any]], str] = lambda name, body: (
            f"text of {name}\nSCORE: 7\n"
        )
        self.partial = True
        self.pace = pace
        self.random = random.Random(seed)

    def rest(self) -> None:
        """Wait until the requests of clients that are dead have taken effect."""
        with socket.create_connection(self.address) as behind_them:
            behind_them.sendall(b"GET /rest HTTP/1.0\r\n\r\n")
            while behind_them.recv(1000):
                pass
        with self.idle:
            assert self.idle.wait_for(lambda: self.connections == 0, timeout=60)

    # -- what the endpoint does --------------------------------------------------------------------
    def upload(self, data: bytes) -> dict[str, Any]:
        name = f"file-{len(self.files)}"
        self.files[name] = data
        return {"id": name, "object": "file", "bytes": len(data), "created_at": 1,
                "filename": "rows.jsonl", "purpose": "batch", "status": "processed"}  # fmt: skip

    def create(self, wanted: dict[str, Any]) -> dict[str, Any]:
        rows = [json.loads(line) for line in self.files[wanted["input_file_id"]].splitlines()]
        name = f"batch_{len(self.batches)}"
        self.billed.update(row["custom_id"] for row in rows)
        self.random.shuffle(rows)
        self.batches[name] = {
            "id": name, "object": "batch", "created_at": 1, "status": "in_progress",
            "endpoint": wanted["endpoint"], "completion_window": "24h",
            "input_file_id": wanted["input_file_id"], "metadata": wanted.get("metadata"),
            "request_counts": {"total": len(rows), "completed": 0, "failed": 0},
        }  # fmt: skip
        self.results[name] = {"todo": rows, "done": [], "failed": []}
        return self.batches[name]

    def look(self, name: str) -> dict[str, Any]:
        """Let some more rows be done, then return the batch."""
        batch, results = self.batches[name], self.results[name]
        for row in [results["todo"].pop() for _ in range(min(self.pace, len(results["todo"])))]:
            self._answer(row, results)
        counts = batch["request_counts"]
        counts["completed"], counts["failed"] = len(results["done"]), len(results["failed"])
        ended = not results["todo"]
        if ended and batch["status"] == "in_progress":
            batch["status"] = "completed"
            self.twisted(results["done"])
        if batch["status"] == "cancelling":
            batch["status"] = "cancelled"
        if self.partial or batch["status"] != "in_progress":
            batch["output_file_id"] = self._file(f"{name}-out", results["done"])
            batch["error_file_id"] = self._file(f"{name}-err", results["failed"])
        return batch

    def _answer(self, row: dict[str, Any], results: dict[str, list[dict[str, Any]]]) -> None:
        name = row["custom_id"]
        if name in self.missing:
            return
        if name in self.failing:
            error = {"code": "server_error", "message": "no luck"}
            results["failed"].append({"custom_id": name, "response": None, "error": error})
            return
        message = {"role": "assistant", "content": self.text(name, row["body"])}
        body = {"model": row["body"]["model"], "choices": [{"message": message}]}
        results["done"].append({"custom_id": name, "response": {"status_code": 200, "body": body}})

    def _file(self, name: str, rows: list[dict[str, Any]]) -> str | None:
        self.files[name] = "".join(json.dumps(row) + "\n" for row in rows).encode()
        return name if rows else None

    def cancel(self, name: str) -> dict[str, Any]:
        self.results[name]["todo"].clear()
        self.batches[name]["status"] = "cancelling"
        return self.batches[name]

    def page(self, after: str | None) -> dict[str, Any]:
        names = list(self.batches)[::-1]
        start = names.index(after) + 1 if after else 0
        found = [self.batches[name] for name in names[start : start + 2]]
        more = start + 2 < len(names)
        last = found[-1]["id"] if found else None
        return {"object": "list", "data": found, "has_more": more, "last_id": last}

    # -- over HTTP ---------------------------------------------------------------------------------
    def handle(self, method: str, path: str, data: bytes) -> Any:
        path, _, query = path.partition("?")
        parts = path.removeprefix("/v1/").split("/")
        if (method, parts) == ("POST", ["files"]):
            return self.upload(_part(data))
        if parts[0] == "files":
            return self.files[parts[1]]
        if (method, parts) == ("POST", ["batches"]):
            return self.create(json.loads(data))
        if parts == ["batches"]:
            after = re.search(r"after=([^&]*)", query)
            return self.page(after[1] if after else None)
        return self.cancel(parts[1]) if parts[-1] == "cancel" else self.look(parts[1])


def _part(data: bytes) -> bytes:
    """Return the file in a form's body."""
    boundary = data.split(b"\r\n", 1)[0]
    for part in data.split(boundary):
        head, _, body = part.partition(b"\r\n\r\n")
        if b'name="file"' in head:
            return body.removesuffix(b"\r\n")
    raise ValueError("there is no file in the form")


@contextmanager
def serving(provider: Provider) -> Iterator[str]:
    """Serve a provider on loopback; yield its base URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def answer(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path == "/rest":
                self.send_response(204)
                self.end_headers()
                self.close_connection = True
                return
            with provider.lock:
                number = len(provider.requests)
                provider.requests.append(f"{self.command} {self.path}")
                provider.before(number)
                fault = provider.faults.get(number, "")
                if not fault.startswith("before"):
                    found = provider.handle(self.command, self.path, data)
                    body = found if isinstance(found, bytes) else json.dumps(found).encode()
                    provider.after(number)
            if fault.endswith("drop"):
                self.close_connection = True
                return
            status = int(fault.split()[1]) if fault else 200
            self.send_response(status)
            if fault:
                body = b'{"error": {"message": "later"}}'
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815

    class Server(ThreadingHTTPServer):
        def process_request(self, request: Any, client_address: Any) -> None:
            with provider.idle:
                provider.connections += 1
            super().process_request(request, client_address)

        def process_request_thread(self, request: Any, client_address: Any) -> None:
            try:
                super().process_request_thread(request, client_address)
            finally:
                with provider.idle:
                    provider.connections -= 1
                    provider.idle.notify_all()

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that was killed reads no answer."""

    server = Server(("127.0.0.1", 0), Handler)
    provider.address = ("127.0.0.1", server.server_address[1])
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
