"""The cluster that the tests of this folder use, and the programs that reach it.

There are two that can be one: the development cluster of ``../shared/cluster`` where it runs, which lives in a network
namespace that nothing outside of it reaches; and, where ``MOONGATE_TEST_CLUSTER`` names a kubeconfig, the cluster of
that, which has to be able to pull the image that ``MOONGATE_TEST_IMAGE`` names, and whose load balancers have to be in
reach. ``MOONGATE_TEST_CLUSTER=off`` is for none.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CHART = ROOT / "deploy" / "chart"
HELM = HERE / "helm.sh"
#: The network namespace of the development cluster.
NETWORK = Path("/run/netns/kube")

Object = dict[str, Any]


class NoCluster(Exception):
    """There is none to test with; the message says why."""


class CommandError(AssertionError):
    """A command failed; the message has what it printed."""


class Cluster:
    """A cluster by its kubeconfig. ``prefix`` is put in front of every command, and brings it to where the cluster is.

    ``offline`` is one that can pull no image, and has those that its pods need already.
    """

    def __init__(self, kubeconfig: Path, prefix: tuple[str, ...] = (), kubectl: str = "kubectl") -> None:
        self.prefix = prefix
        self.offline = bool(prefix)
        self.environment = os.environ | {"KUBECONFIG": str(kubeconfig)}
        self.kubectl_path = kubectl

    def run(self, *command: str, stdin: str | None = None, seconds: float = 300) -> str:
        """What ``command`` prints, run where the cluster is; CommandError where it fails."""
        done = subprocess.run(
            [*self.prefix, *command],
            env=self.environment,
            input=stdin,
            text=True,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
        if done.returncode:
            raise CommandError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def popen(self, *command: str) -> "subprocess.Popen[str]":
        """``command`` in the background, run where the cluster is, with its output as text."""
        return subprocess.Popen(
            [*self.prefix, *command], env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.run(self.kubectl_path, *arguments, stdin=stdin)

    def helm(self, *arguments: str) -> str:
        return self.run(str(HELM), *arguments, seconds=600)

    def get(self, *arguments: str) -> Object:
        """``kubectl get`` of an object, or of a list."""
        found: Object = json.loads(self.kubectl("get", *arguments, "--output", "json"))
        return found

    def apply(self, *objects: Mapping[str, Any]) -> None:
        self.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all(objects))

    def apply_file(self, path: Path) -> None:
        """A manifest, byte for byte."""
        self.kubectl("apply", "--filename", str(path))

    def delete_file(self, path: Path) -> None:
        self.kubectl("delete", "--ignore-not-found", "--filename", str(path))

    def curl(self, *arguments: str) -> str:
        return self.run("curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "30", *arguments)

    def status_of(self, *arguments: str) -> int:
        """The HTTP status that curl got; 0 where there was no answer."""
        try:
            return int(self.curl("--output", "/dev/null", "--write-out", "%{http_code}", *arguments))
        except CommandError:
            return 0


def find() -> Cluster:
    """The cluster to test with. Raises NoCluster."""
    named = os.environ.get("MOONGATE_TEST_CLUSTER", "")
    if named == "off":
        raise NoCluster("MOONGATE_TEST_CLUSTER=off")
    if named:
        if not os.environ.get("MOONGATE_TEST_IMAGE"):
            raise NoCluster("MOONGATE_TEST_CLUSTER needs MOONGATE_TEST_IMAGE, an image that the cluster can pull")
        cluster = Cluster(Path(named))
    else:
        lab = Path(os.environ.get("LAB", "/tmp/kubelab"))
        if not (NETWORK.exists() and (lab / "kubeconfig").exists()):
            raise NoCluster("no cluster: ../shared/cluster does not run, and MOONGATE_TEST_CLUSTER names none")
        cluster = Cluster(lab / "kubeconfig", ("nsenter", f"--net={NETWORK}"), str(lab / "bin" / "kubectl"))
    try:
        cluster.kubectl("get", "--raw", "/readyz", "--request-timeout", "5s")
    except (CommandError, OSError) as error:
        raise NoCluster(f"the cluster does not answer: {error}") from None
    if not helm_is_there():
        raise NoCluster("there is neither helm nor Go to build it with")
    return cluster


def helm_is_there() -> bool:
    return shutil.which("go") is not None or subprocess.run([HELM, "--path"], capture_output=True).returncode == 0


def image_of(cluster: Cluster) -> str:
    """The gateway's image, which the cluster has or can pull. In the development cluster, with none given, that of this
    very tree."""
    if given := os.environ.get("MOONGATE_TEST_IMAGE"):
        return given
    assert cluster.offline, "find() asks for an image of other clusters"
    # The last line: what the engine says comes before it.
    return subprocess.run(
        [HERE / "images.sh"], text=True, stdout=subprocess.PIPE, timeout=900, check=True
    ).stdout.splitlines()[-1]


class Release:
    """The chart, installed in a namespace of its own, with a controller's name that no other installation has."""

    def __init__(self, cluster: Cluster, namespace: str, image: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        repository, _, tag = image.rpartition(":")
        self._values = {
            "image.repository": repository,
            "image.tag": tag,
            "controllerName": f"moongate.dev/{namespace}",
            "gatewayClass.name": namespace,
        }

    def install(self, *files: Path, **values: str) -> str:
        """Install, or upgrade to, the chart with the values of ``files``; keys of ``values`` have __ for a dot.

        Gives what Helm prints, which is the chart's notes.
        """
        settings = self._values | {name.replace("__", "."): value for name, value in values.items()}
        return self.cluster.helm(
            *("upgrade", "--install", "moongate", str(CHART), "--namespace", self.namespace, "--create-namespace"),
            *(argument for file in files for argument in ("--values", str(file))),
            *(argument for name, value in settings.items() for argument in ("--set", f"{name}={value}")),
            *("--wait", "--timeout", "180s"),
        )

    def clear(self) -> None:
        """Remove what a run before this one has left, and wait until it is gone."""
        self.uninstall()
        self.cluster.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--timeout=180s")

    def uninstall(self) -> None:
        """Remove the release, and begin to remove its namespace."""
        self.cluster.helm("uninstall", "moongate", "--namespace", self.namespace, "--ignore-not-found", "--wait")
        self.cluster.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--wait=false")

    def pods(self) -> list[str]:
        selector = "--selector=app.kubernetes.io/instance=moongate"
        return self.cluster.kubectl("get", "pods", "--namespace", self.namespace, selector, "--output=name").split()

    def logs(self) -> str:
        """What all replicas have written, for whoever has to find out why a test failed."""
        return "\n".join(f"--- {pod}\n" + self._log(pod) for pod in self.pods())

    def _log(self, pod: str) -> str:
        try:
            return self.cluster.kubectl("logs", "--namespace", self.namespace, pod, "--tail=60")
        except CommandError as error:
            # One that goes may be gone by now.
            if "NotFound" in str(error):
                return "gone\n"
            raise


def conditions(status: Mapping[str, Any]) -> dict[str, str]:
    """Types and statuses of the conditions in an object's status, or in a part of one."""
    return {each["type"]: each["status"] for each in status.get("conditions", ())}


def addresses(status: Mapping[str, Any]) -> Iterable[str]:
    """The addresses in a Gateway's status."""
    return [each["value"] for each in status.get("addresses", ())]
