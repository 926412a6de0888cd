"""Run the official conformance suite against a cluster: ``make conformance``.

The cluster has the Gateway API's definitions of the suite's version, and Moongate with its GatewayClass. Shows every
test as it ends, and in the end the counts by profile and what failed, with the first reason. Leaves `test.log`,
`report.yaml` and `summary.txt` in the output folder. Exits as the suite does.
"""

import argparse
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from tests.conformance.suite.build import HERE, VERSIONS, build
from tests.conformance.suite.results import Log, summary

ROOT = HERE.parents[2]
#: The suite's namespaces bear this label.
LABEL = "gateway-conformance"
#: What `-test.v=test2json` puts into the output beside its text.
MARKS = dict.fromkeys((0x0E, 0x0F, 0x16))
#: How long the namespaces of the last run may take to go, and how long a run may take.
PATIENCE, LIMIT = "180s", "90m"


class Cluster:
    """How programs reach the API server: with ``KUBECONFIG`` where it is set, or in the network namespace of the
    development cluster (``LAB``), which nothing outside of it reaches."""

    def __init__(self) -> None:
        lab = Path(os.environ.get("LAB", "/tmp/kubelab"))
        own = lab / "kubeconfig"
        config = os.environ.get("KUBECONFIG", "")
        self.prefix: list[str] = []
        self.environment = dict(os.environ)
        self.kubectl = "kubectl"
        self.cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "moongate" / "conformance"
        if own.exists() and (not config or Path(config) == own):
            self.prefix = ["nsenter", "--net=/run/netns/kube"]
            self.environment["KUBECONFIG"] = str(own)
            self.kubectl = str(lab / "bin" / "kubectl")
            self.cache = lab / "conformance"
        elif shutil.which("kubectl") is None:
            sys.exit("kubectl is missing")

    def ask(self, *arguments: str) -> str:
        """What kubectl answers."""
        command = [*self.prefix, self.kubectl, *arguments]
        return subprocess.run(
            command, env=self.environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout.strip()

    def clear(self) -> None:
        """Remove what a run that was broken off has left. The suite does not wait for its namespaces to go, and the
        next run could not create anything in them."""
        self.ask("delete", "namespace", "-l", LABEL, "--ignore-not-found", "--wait=false")
        self.ask("wait", "--for=delete", "namespace", "-l", LABEL, f"--timeout={PATIENCE}")

    def installed(self) -> tuple[str, str]:
        """Version and channel of the Gateway API's definitions."""
        group = "gateway.networking.k8s.io"
        found = self.ask("get", "crd", f"gateways.{group}", "--ignore-not-found", "-o", "json")
        annotations: dict[str, str] = json.loads(found)["metadata"]["annotations"] if found else {}
        return annotations.get(f"{group}/bundle-version", ""), annotations.get(f"{group}/channel", "")


def run(cluster: Cluster, binary: Path, flags: list[str], output: Path) -> int:
    """Run the suite to its end; its exit status."""
    for old in ("test.log", "report.yaml", "summary.txt"):
        (output / old).unlink(missing_ok=True)
    command = [*cluster.prefix, str(binary), "-test.v=test2json", f"-test.timeout={LIMIT}", *flags]
    begun, log = time.monotonic(), Log()
    process = subprocess.Popen(
        command,
        cwd=HERE,
        env=cluster.environment,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout
    try:
        with (output / "test.log").open("w") as file:
            for line in process.stdout:
                file.write(line.translate(MARKS))
                ended = log.feed(line)
                if ended and ended.result != "SKIP":
                    at = f"[{time.monotonic() - begun:4.0f} s]"
                    print(
                        f"{at} {ended.result} {ended.name} ({ended.seconds:.1f} s) {ended.reason}".rstrip(), flush=True
                    )
        status = process.wait()
    except BaseException:
        # It takes no notice of SIGINT where a script has started it.
        process.terminate()
        process.wait()
        raise
    lines = list(summary(log.ended, output / "report.yaml", time.monotonic() - begun))
    (output / "summary.txt").write_text("\n".join(lines) + "\n")
    print("\n" + "\n".join(lines), flush=True)
    if status and not log.ended:
        print((output / "test.log").read_text()[-2000:], file=sys.stderr)
    return status


def publish(report: Path) -> Path:
    """Put a report where the API's own repository would have it."""
    document: dict[str, Any] = yaml.safe_load(report.read_text())
    version = document["implementation"]["version"]
    name = f"{document['gatewayAPIChannel']}-{version}-{document['mode']}-report.yaml"
    place: Path = ROOT / "deploy" / "conformance" / document["gatewayAPIVersion"] / name
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(report, place)
    return place


def main() -> int:
    """Run what the command line asks for."""
    # Told to stop, stop the suite too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", choices=VERSIONS, default=VERSIONS[-1], help="its version; default %(default)s")
    parser.add_argument("--gateway-class", default="moongate", help="default %(default)s")
    parser.add_argument("--run-test", default="", metavar="NAME", help="of a single test")
    parser.add_argument("--output", type=Path, help="a folder; default build/conformance/VERSION")
    parser.add_argument("--publish", action="store_true", help="put the report into deploy/conformance")
    parser.add_argument("--build", action="store_true", help="only build the suite")
    arguments, flags = parser.parse_known_args()
    cluster = Cluster()
    binary = build(arguments.suite, cluster.cache)
    if arguments.build:
        return 0
    version, channel = cluster.installed()
    if version != f"v{arguments.suite}":
        there = f"{version} ({channel})" if version else "none"
        print(
            f"the suite {arguments.suite} wants the same version of the API's definitions: there are {there}",
            file=sys.stderr,
        )
        return 2
    # The suite takes the features from its status, and does not wait for it.
    cluster.ask("wait", "--for=condition=Accepted", f"gatewayclass/{arguments.gateway_class}", "--timeout=60s")
    cluster.clear()
    output: Path = (arguments.output or ROOT / "build" / "conformance" / arguments.suite).resolve()
    output.mkdir(parents=True, exist_ok=True)
    flags = [
        f"--gateway-class={arguments.gateway_class}",
        f"--version=v{importlib.metadata.version('moongate')}",
        f"--report-output={output / 'report.yaml'}",
        *([f"--run-test={arguments.run_test}"] if arguments.run_test else []),
        *flags,
    ]
    status = run(cluster, binary, flags, output)
    if arguments.publish and not arguments.run_test:
        print(f"report: {publish(output / 'report.yaml').relative_to(ROOT)}")
    return status


if __name__ == "__main__":
    sys.exit(main())
