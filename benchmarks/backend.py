"""What all proxies stand before: nginx, which serves files, takes uploads, and passes WebSockets to an echo."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import cast

from benchmarks.measure import OTHER_CPUS, run_on
from benchmarks.processes import end, free_port, wait_until_served
from benchmarks.rows import SIZES
from benchmarks.websocket import Frames, accept_key, frame


@contextlib.contextmanager
def backend(folder: Path) -> Iterator[int]:
    """The port of a running backend. An upload is read to its end before it is answered, by nginx as a proxy of its own
    ``/ok``: ``return`` would answer first."""
    port, echo_port = free_port(), free_port()
    for size in SIZES:
        (folder / str(size)).write_bytes(b"x" * size)
    config = folder / "backend.conf"
    config.write_text(f"""
worker_processes 1; daemon off; master_process off; pid {folder}/backend.pid; error_log {folder}/backend.log;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 1000000000; sendfile on; open_file_cache max=16; keepalive_timeout 600s;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
  scgi_temp_path {folder}; client_max_body_size 0; client_body_buffer_size 2m; proxy_http_version 1.1;
  upstream self {{ server 127.0.0.1:{port}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port} backlog=8192; root {folder};
    location = /ok {{ return 200 "ok"; }}
    location = /upload {{
      proxy_method GET; proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_set_header Connection "";
      proxy_pass http://self/ok;
    }}
    location = /ws {{
      if ($http_upgrade = "") {{ return 426; }}
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_read_timeout 600s;
      proxy_pass http://127.0.0.1:{echo_port};
    }}
  }}
}}
""")
    folder.chmod(0o755)
    pin = partial(run_on, OTHER_CPUS)
    log = (folder / "backend.out").open("wb")
    commands = (["nginx", "-c", str(config)], [sys.executable, "-m", "benchmarks.backend", str(echo_port)])
    processes = [
        subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=pin, cwd=Path(__file__).parents[1])
        for command in commands
    ]
    try:
        for each, process in zip((port, echo_port), processes, strict=True):
            wait_until_served(each, process, Path(log.name))
        yield port
    finally:
        log.close()
        for process in processes:
            end(process)


class Echo(asyncio.Protocol):
    """Sends every WebSocket message back to whoever sent it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.head = b""
        self.frames: Frames | None = None

    def data_received(self, data: bytes) -> None:
        if self.frames is None:
            self.head += data
            head, end, data = self.head.partition(b"\r\n\r\n")
            if not end:
                return
            key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
            self.frames = Frames()
            self.transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept_key(key.split(b":", 1)[1].strip()) + b"\r\n\r\n"
            )
        for opcode, payload in self.frames.feed(data):
            if opcode == 8:
                self.transport.write(frame(8, payload))
                self.transport.close()
            else:
                self.transport.write(frame(10 if opcode == 9 else opcode, payload))


async def _echo(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_echo(int(sys.argv[1])))
