"""What Helm makes of the chart, for a few sets of values: ``golden/NAME.values.yaml`` becomes ``golden/NAME.out.yaml``.

The first line of the values says which API versions the cluster has beside Kubernetes' own. ``pytest --update-golden``
records anew.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "chart"
HELM = ROOT / "tests" / "cluster" / "helm.sh"
FOLDER = Path(__file__).parent / "golden"
INPUTS = sorted(FOLDER.glob("*.values.yaml"))
ARTICLE = ROOT / "tests" / "e2e" / "seed" / "05-values.yaml"

if subprocess.run([HELM, "--path"], capture_output=True, check=False).returncode:
    pytest.skip("there is no helm; tests/cluster/helm.sh version builds one", allow_module_level=True)


def helm(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([HELM, *arguments], text=True, capture_output=True, timeout=60, check=False)


def template(*arguments: str) -> str:
    done = helm("template", "moongate", str(CHART), "--namespace", "moongate-system", *arguments)
    assert done.returncode == 0, done.stderr
    # The one thing that is another at each time.
    return re.sub(r'^  key: ".*"$', "  key: RANDOM", done.stdout, flags=re.MULTILINE)


def refusal(*settings: str) -> str:
    arguments = [part for each in settings for part in ("--set", each)]
    done = helm("template", "moongate", str(CHART), "--api-versions=gateway.networking.k8s.io/v1", *arguments)
    assert done.returncode != 0
    return done.stderr


@pytest.fixture(scope="module")
def chart_of_notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart with its notes as one more template: Helm prints notes only where there is a cluster."""
    copy = tmp_path_factory.mktemp("chart") / "moongate"
    shutil.copytree(CHART, copy)
    notes = copy / "templates" / "NOTES.txt"
    body = f'{{{{ define "notes" }}}}{notes.read_text()}{{{{ end }}}}notes: {{{{ include "notes" . | toJson }}}}\n'
    (notes.parent / "notes.yaml").write_text(body)
    return copy


def notes(chart: Path, *arguments: str) -> str:
    done = helm("template", "moongate", str(chart), "--show-only=templates/notes.yaml", *arguments)
    assert done.returncode == 0, done.stderr
    return str(yaml.safe_load(done.stdout)["notes"])


def test_helm_finds_nothing_to_complain_of() -> None:
    assert helm("lint", "--strict", "--quiet", str(CHART)).returncode == 0


@pytest.mark.parametrize("values", INPUTS, ids=lambda path: path.name.removesuffix(".values.yaml"))
def test_golden(values: Path, request: pytest.FixtureRequest) -> None:
    versions = re.fullmatch(r"# api-versions:(.*)", values.read_text().splitlines()[0])
    assert versions is not None
    rendered = template("--values", str(values), *(f"--api-versions={each}" for each in versions[1].split()))
    expected = values.with_name(values.name.replace(".values.", ".out."))
    if request.config.getoption("--update-golden"):
        expected.write_text(rendered)
    assert rendered == expected.read_text()


def test_the_articles_values_render_its_gateway_and_class() -> None:
    rendered = template("--values", str(ARTICLE), "--api-versions=networking.x-k8s.io/v1alpha1")
    assert rendered == (FOLDER / "article.out.yaml").read_text()


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("ports.web.exposedPort=80", "at '/ports/web': additional properties 'exposedPort' not allowed"),
        ("deployment.replica=3", "at '/deployment': additional properties 'replica' not allowed"),
        ("service.type=ExternalName", "at '/service/type': value must be one of"),
        ("ports.web.port=70000", "at '/ports/web/port': maximum: got 70,000, want 65,535"),
        ("providers.kubernetesGateway.enabled=false", "at '/providers/kubernetesGateway/enabled': value must be true"),
        ("controllerName=moongate", "at '/controllerName': 'moongate' does not match pattern"),
        ("image.tag=7", "at '/image/tag': got number, want string"),
    ],
)
def test_wrong_values_are_named(setting: str, complaint: str) -> None:
    assert complaint in refusal(setting)


def test_a_listener_needs_a_port_of_its_own_or_one_by_its_name() -> None:
    message = refusal("gateway.enabled=true", "gateway.listeners.other.protocol=HTTP")
    assert "gateway.listeners.other.port is required" in message


def test_a_missing_gateway_api_is_told_and_fails_nothing(chart_of_notes: Path) -> None:
    told = notes(chart_of_notes)
    assert "MISSING: the Gateway API (gateway.networking.k8s.io/v1)" in told
    assert "standard-install.yaml" in told
    assert "v1alpha1" not in told


def test_a_missing_v1alpha1_is_told_where_it_is_asked_for(chart_of_notes: Path) -> None:
    told = notes(chart_of_notes, "--values", str(ARTICLE), "--api-versions=gateway.networking.k8s.io/v1")
    assert told.count("MISSING") == 1
    assert "MISSING: networking.x-k8s.io/v1alpha1" in told


def test_what_is_there_is_not_missing_and_the_next_step_is_told(chart_of_notes: Path) -> None:
    told = notes(chart_of_notes, "--api-versions=gateway.networking.k8s.io/v1")
    assert "MISSING" not in told
    assert "gatewayClassName: moongate" in told


def test_the_environment_of_the_values_wins() -> None:
    rendered = template("--set", "env[0].name=MOONGATE_HOST", "--set-string", "env[0].value=127.0.0.1")
    assert re.findall(r"name: MOONGATE_HOST\n\s+value: (.*)", rendered) == ["127.0.0.1"]
