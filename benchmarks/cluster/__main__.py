"""The command line: ``python -m benchmarks.cluster ROW ...``."""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from benchmarks.cluster import counting, flapping, propagation, report, scale
from benchmarks.cluster.api import Api
from benchmarks.cluster.bed import Bed

ROWS = ("attached", "propagation", "load", "scale", "flapping")
#: The development cluster, whose API server nothing outside of its network namespace reaches.
LAB = Path(os.environ.get("LAB", "/tmp/kubelab"))


def main() -> None:
    """Measure and print Markdown. Exits with 1 where a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description="A gateway with many routes.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"{', '.join(ROWS)}; default all")
    parser.add_argument("--gateway-class", default="moongate", help="default %(default)s")
    parser.add_argument("--attached", type=int, nargs="*", default=[1000], help="routes counted; default 1000")
    parser.add_argument("--routes", type=int, nargs="*", default=[3000, 5000], help="one by one; default 3000 5000")
    parser.add_argument("--changes", type=int, default=300, help="of a route under load; default %(default)s")
    parser.add_argument("--namespaces", type=int, default=50, help="default %(default)s")
    parser.add_argument("--each", type=int, default=100, help="routes in each; default %(default)s")
    parser.add_argument("--turns", type=int, default=40, help="of an endpoint; default %(default)s")
    parser.add_argument(
        "--pods",
        default="moongate-system/app.kubernetes.io/name=moongate",
        metavar="NAMESPACE/LABEL",
        help="the gateway's; default %(default)s",
    )
    parser.add_argument(
        "--image",
        default="registry.k8s.io/gateway-api/conformance/echo-basic:v0.1.0",
        help="of the backends; default %(default)s",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    arguments = parser.parse_args()
    if unknown := set(arguments.rows) - set(ROWS):
        parser.error(f"unknown: {', '.join(unknown)}")
    kubeconfig = _enter()
    figures: list[report.Figure] = []
    try:
        asyncio.run(_measure(arguments, kubeconfig, figures))
    finally:
        print(report.table(figures), flush=True)
        if arguments.json:
            report.write(figures, arguments.json, arguments.gateway_class)
    sys.exit(any(figure.missed for figure in figures))


def _enter() -> Path:
    """The kubeconfig; with that of the development cluster, once more in its network namespace."""
    own = LAB / "kubeconfig"
    config = Path(os.environ.get("KUBECONFIG") or (own if own.exists() else Path.home() / ".kube" / "config"))
    if config == own and not os.environ.get("MOONGATE_BENCH_ENTERED"):
        os.environ["MOONGATE_BENCH_ENTERED"] = "1"
        command = [sys.executable, "-m", "benchmarks.cluster", *sys.argv[1:]]
        os.execvp("nsenter", ["nsenter", "--net=/run/netns/kube", *command])
    return config


async def _measure(arguments: argparse.Namespace, kubeconfig: Path, figures: list[report.Figure]) -> None:
    rows = arguments.rows or ROWS
    async with Api(kubeconfig) as api:
        bed = Bed(api, arguments.gateway_class, arguments.image, report.Progress())
        await bed.clear()
        try:
            await bed.make()
            if "attached" in rows:
                for number in arguments.attached:
                    figures += await counting.measure(bed, number)
            if "load" in rows:
                figures += await propagation.under_load(bed, arguments.changes)
            if "flapping" in rows:
                figures += await flapping.measure(bed, arguments.turns)
            if "propagation" in rows:
                for number in arguments.routes:
                    figures += await propagation.measure(bed, number)
            if "scale" in rows:
                gateways = await scale.pods(bed, *arguments.pods.split("/", 1))
                figures += await scale.measure(bed, arguments.namespaces, arguments.each, gateways)
        finally:
            await bed.clear()


if __name__ == "__main__":
    main()
