"""A server on loopback that gives prepared answers, as OPTIMADE servers do on good and bad days."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Answer", "Moody", "entry", "moody_servers", "page"]

Answer = tuple[int, dict[str, str], bytes]


def entry(identifier: str, **changes: Any) -> dict[str, Any]:
    attributes = {
        "lattice_vectors": [[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0]],
        "cartesian_site_positions": [[0, 0, 0], [2, 2, 2]],
        "species_at_sites": ["Li", "Cl"],
        "species": [
            {"name": "Li", "chemical_symbols": ["Li"], "concentration": [1.0]},
            {"name": "Cl", "chemical_symbols": ["Cl"], "concentration": [1.0]},
        ],
        "chemical_formula_reduced": "ClLi",
    }
    return {"id": identifier, "type": "structures", "attributes": {**attributes, **changes}}


def page(*entries: Any, after: Any = None) -> Answer:
    body = {"data": list(entries), "links": {"next": after}, "meta": {}}
    return 200, {}, json.dumps(body).encode()


class Moody:
    """Starts servers that give the listed answers in turn, the last one for ever."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.running: list[http.server.ThreadingHTTPServer] = []

    def __call__(self, *answers: Answer) -> str:
        queue, asked = list(answers), self.asked

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                code, headers, body = queue.pop(0) if len(queue) > 1 else queue[0]
                self.send_response(code)
                sent = {"Content-Length": str(len(body))} | headers
                for name, value in sent.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.running.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"


@contextmanager
def moody_servers() -> Iterator[Moody]:
    """Ends what it started."""
    moody = Moody()
    try:
        yield moody
    finally:
        for server in moody.running:
            server.shutdown()
            server.server_close()
