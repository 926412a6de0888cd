"""Text to objects and problems: what is read, what is refused, and which line is named."""

import json
from textwrap import dedent

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.providers import documents, yamltext
from app.providers.manifests import MAX_BYTES, Manifests, line_of, lines_of, read_manifests
from routes.resources.core import ConfigMap
from routes.resources.http import HTTPRoute
from routes.resources.meta import Key

GROUP = "gateway.networking.k8s.io"

ROUTE = """\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: {name}
spec:
  rules:
  - backendRefs:
    - name: service
      port: 80
"""

CONFIG = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {name}
data:
  a: {value}
"""


def key(name: str, kind: str = "HTTPRoute", group: str = GROUP) -> Key:
    return Key(group, kind, "default", name)


def read(text: str | bytes, file: str = "a.yaml") -> Manifests:
    return read_manifests(dedent(text) if isinstance(text, str) else text, file)


def names(manifests: Manifests) -> list[str]:
    return [definition.resource.metadata.name for definition in manifests.objects]


def only_problem(manifests: Manifests) -> str:
    assert len(manifests.problems) == 1, manifests.problems
    return str(manifests.problems[0])


def data(value: str) -> dict[str, object]:
    """What a ConfigMap's values were read as, before its model has its say."""
    document = next(documents.yaml_documents(f"a: {value}\n"))
    assert not document.mistakes
    return {"value": document.value["a"]}


# --- what is read


def test_objects_come_with_their_lines() -> None:
    text = "# a comment\n---\n" + ROUTE.format(name="one") + "---\n---\n\n" + ROUTE.format(name="two") + "---\n"
    manifests = read_manifests(text, "a.yaml")
    assert manifests.problems == ()
    assert manifests.complete
    assert [(each.resource.key, each.line) for each in manifests.objects] == [(key("one"), 3), (key("two"), 15)]
    assert isinstance(manifests.objects[0].resource, HTTPRoute)


def test_bytes_with_a_byte_order_mark_and_windows_lines() -> None:
    text = ROUTE.format(name="one") + "---\n" + ROUTE.format(name="two")
    manifests = read_manifests(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(), "a.yaml")
    assert manifests.problems == ()
    assert [each.line for each in manifests.objects] == [1, 11]
    assert names(read_manifests("\ufeff" + text, "a.yaml")) == ["one", "two"]


def test_kinds_of_others_are_passed_over() -> None:
    manifests = read("apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: a}\n")
    assert manifests == Manifests((), (), {}, complete=True)


@pytest.mark.parametrize("version", ["v1\nkind: List", f"{GROUP}/v1\nkind: HTTPRouteList"])
def test_lists_are_unfolded(version: str) -> None:
    items = "".join("- " + ROUTE.format(name=name).replace("\n", "\n  ").rstrip(" ") for name in ("one", "two"))
    manifests = read_manifests(f"apiVersion: {version}\nitems:\n{items}", "a.yaml")
    assert manifests.problems == ()
    assert [(each.resource.key.name, each.line) for each in manifests.objects] == [("one", 4), ("two", 13)]


def test_items_of_a_typed_list_need_no_type() -> None:
    manifests = read(
        """\
        apiVersion: v1
        kind: ConfigMapList
        items:
        - metadata: {name: one}
        - metadata: {name: two}
        """
    )
    assert manifests.problems == ()
    assert names(manifests) == ["one", "two"]


def test_an_empty_list_is_no_empty_file() -> None:
    assert read("apiVersion: v1\nkind: List\nitems: []\n") == Manifests((), (), {}, complete=True)
    assert read("apiVersion: v1\nkind: List\n") == Manifests((), (), {}, complete=True)


def test_lists_within_lists() -> None:
    inner = {"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}]}
    manifests = read(json.dumps({"apiVersion": "v1", "kind": "List", "items": [inner]}), "a.json")
    assert manifests.problems[0].field == "items[0].items[0].metadata.name"


def test_problems_in_lists_name_the_item_and_others_are_read() -> None:
    manifests = read(
        """\
        apiVersion: v1
        kind: List
        items:
        - apiVersion: gateway.networking.k8s.io/v1
          kind: HTTPRoute
          metadata: {name: good}
          spec: {}
        - apiVersion: gateway.networking.k8s.io/v1
          kind: HTTPRoute
          metadata: {name: bad}
          spec:
            rules:
            - backendRefs:
              - name: service
                port: "80"
        - 7
        """
    )
    assert names(manifests) == ["good"]
    bad, number = manifests.problems
    assert (bad.key, bad.field, bad.line) == (key("bad"), "items[1].spec.rules[0].backendRefs[0].port", 15)
    assert (number.key, number.field, number.line) == (None, "items[2]", 16)
    assert manifests.failed == {key("bad"): 8}
    assert not manifests.complete


def test_a_list_whose_items_are_none() -> None:
    manifests = read("apiVersion: v1\nkind: List\nitems: {a: 1}\n")
    assert only_problem(manifests) == "a.yaml:3: error: items: must be a list of objects"
    assert not manifests.complete


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01T12:00:00Z", "2024-01-01T12:00:00Z"),
        ("=", "="),
        ("12:30", "12:30"),
        ("12:30:45.5", "12:30:45.5"),
        ("yes", True),
        ("Off", False),
        ("true", True),
        ("~", None),
        ("", None),
        ("017", 15),
        ("0x1F", 31),
        ("0b11", 3),
        ("1_000", 1000),
        ("-3", -3),
        ("1.5", 1.5),
        ("1.5e+3", 1500.0),
        ("08", "08"),
        ("'80'", "80"),
        ("!!str 80", "80"),
        ("!!int '80'", 80),
        ("|\n  x\n  y\n", "x\ny\n"),
    ],
)
def test_scalars(written: str, value: object) -> None:
    read_value = data(written)["value"]
    assert read_value == value
    assert type(read_value) is type(value)


def test_anchors_and_merge_keys() -> None:
    document = next(
        documents.yaml_documents(
            dedent(
                """\
                base: &base {a: 1, b: 2}
                other: &other {b: 3, c: 3}
                one: {<<: *base, b: 5}
                both: {<<: [*base, *other], d: 4}
                again: *base
                """
            )
        )
    )
    assert document.mistakes == []
    assert document.value["one"] == {"a": 1, "b": 5}
    assert document.value["both"] == {"a": 1, "b": 2, "c": 3, "d": 4}
    assert document.value["again"] == {"a": 1, "b": 2}


# --- what is refused


def test_invalid_objects_are_named_and_the_others_read() -> None:
    bad = ROUTE.format(name="bad").replace("port", "prot")
    manifests = read_manifests(ROUTE.format(name="one") + "---\n" + bad + "---\n" + ROUTE.format(name="two"), "a.yaml")
    assert names(manifests) == ["one", "two"]
    assert manifests.failed == {key("bad"): 11}
    assert manifests.complete
    problem = manifests.problems[0]
    assert (problem.key, problem.field, problem.file, problem.line) == (
        key("bad"),
        "spec.rules[0].backendRefs[0].prot",
        "a.yaml",
        19,
    )


def test_the_line_of_what_is_missing_is_that_of_its_surroundings() -> None:
    manifests = read(CONFIG.format(name="one", value="x") + "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  a: b\n")
    assert {problem.line for problem in manifests.problems} == {10}
    assert not manifests.complete


@pytest.mark.parametrize(
    "change",
    [
        ("name: one", "name: One!"),
        ("name: one", "name: one\n  name: two"),
        ("gateway.networking.k8s.io/v1", "gateway.networking.k8.io/v1"),
        ("kind: HTTPRoute", "kind: HTTPRuote"),
        ("metadata:", "metadata: &x"),
    ],
)
def test_an_object_whose_identity_is_wrong_leaves_the_file_incomplete(change: tuple[str, str]) -> None:
    text = ROUTE.format(name="one").replace(*change)
    manifests = read(text)
    assert manifests.failed == {}
    assert manifests.complete == (manifests.problems == ())
    assert bool(manifests.problems) == (change[0] != "metadata:")


def test_the_namespace_of_a_failed_object_is_the_one_it_would_have() -> None:
    route = read(ROUTE.format(name="one").replace("port: 80", "port: x"))
    assert list(route.failed) == [key("one")]
    gateway_class = read(f"apiVersion: {GROUP}/v1\nkind: GatewayClass\nmetadata: {{name: a, namespace: b}}\nspec: 1\n")
    assert list(gateway_class.failed) == [Key(GROUP, "GatewayClass", "", "a")]


def test_duplicate_keys_name_the_key_and_both_lines() -> None:
    manifests = read(
        CONFIG.format(name="one", value="x") + "  b: y\n  a: z\n---\n" + CONFIG.format(name="two", value=1.5)
    )
    first, second = manifests.problems
    assert str(first) == (
        'a.yaml:8: error: ConfigMap default/one data.a: the key "a" on line 8 was given on line 6 already'
    )
    assert second.key == key("two", "ConfigMap", "")
    assert list(manifests.failed) == [key("one", "ConfigMap", ""), key("two", "ConfigMap", "")]
    assert names(manifests) == []


def test_duplicate_keys_of_a_list_itself_spoil_it_all() -> None:
    manifests = read("apiVersion: v1\nkind: List\nitems: []\nitems: []\n")
    assert "on line 4 was given on line 3" in only_problem(manifests)
    assert not manifests.complete


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("80: x", 'the key "80" is not a string: put it in quotes'),
        ("on: x", 'the key "on" is not a string: put it in quotes'),
        ("~: x", 'the key "~" is not a string: put it in quotes'),
        ("? [a]\n  : x", "a key is not a string: put it in quotes"),
        ("<<: 3", 'the key "<<" takes a mapping or a list of mappings'),
        ("a: !thing b", "has a YAML tag, which manifests do not use"),
        ("a: !!binary aGVsbG8=", "has a YAML tag, which manifests do not use"),
        ("a: !!set {b}", "has a YAML tag, which manifests do not use"),
        ("a: !!int b", "is not what its YAML type asks for"),
        ("a: .inf", "is a number that JSON does not have"),
        ("a: " + "9" * 5000, "is not what its YAML type asks for"),
    ],
)
def test_yaml_that_manifests_do_not_use(written: str, message: str) -> None:
    manifests = read(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: one}}\ndata:\n  {written}\n")
    assert manifests.problems[0].message == message
    assert manifests.problems[0].line == 5
    assert list(manifests.failed) == [key("one", "ConfigMap", "")]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        *(("a.yaml", text) for text in ("", "\n\n", "# nothing\n", "---\n---\n...\n", "null\n", "\ufeff")),
        *(("a.json", text) for text in ("", "\n\n", "null\n", "\ufeff")),
    ],
)
def test_a_file_without_objects(file: str, text: str) -> None:
    manifests = read_manifests(text, file)
    assert only_problem(manifests) == f"{file}: error: holds no objects; delete the file to take its objects away"
    assert not manifests.complete


@pytest.mark.parametrize("text", ["7\n", "hello\n", "[1, 2]\n", "!x {a: b}\n"])
def test_documents_that_are_no_objects(text: str) -> None:
    manifests = read_manifests("---\n" + text, "a.yaml")
    assert manifests.problems[0].line == 2
    assert not manifests.complete


def test_the_second_definition_in_a_file_is_passed_over() -> None:
    text = CONFIG.format(name="one", value="first") + "---\n" + CONFIG.format(name="one", value="second")
    manifests = read(text)
    (definition,) = manifests.objects
    assert isinstance(definition.resource, ConfigMap)
    assert definition.resource.data == {"a": "first"}
    assert only_problem(manifests) == (
        "a.yaml:8: error: ConfigMap default/one: is defined on line 1 of the same file already: "
        "this definition is passed over"
    )


def test_the_second_definition_does_not_stand_in_for_a_wrong_first_one() -> None:
    manifests = read(CONFIG.format(name="one", value=1) + "---\n" + CONFIG.format(name="one", value="second"))
    assert names(manifests) == []
    assert list(manifests.failed) == [key("one", "ConfigMap", "")]
    assert len(manifests.problems) == 2


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: b: c\n", 1, "is not YAML: mapping values are not allowed in this context"),
        ("a: b\n\tc: d\n", 2, "is not YAML: "),
        ("a: b\nc: [1,\n", 3, "is not YAML: while parsing a flow"),
        ("a: 'b\n\n", 3, "is not YAML: while scanning a quoted scalar"),
        ("a: 1\nb: *c\n", 2, "is not YAML: found undefined alias"),
        ("a: 1\nb: \x00\n", 2, "holds a control character, which YAML does not allow"),
        ("a: &a [*a]\n", 1, "holds an alias of itself"),
        ("a: &a {<<: *a}\n", 1, "holds an alias of itself"),
        ("a: \ud800\n", 1, "holds half a surrogate pair"),
    ],
)
def test_broken_yaml(text: str, line: int, words: str) -> None:
    manifests = read_manifests(CONFIG.format(name="one", value="x") + "---\n" + text, "a.yaml")
    assert manifests.objects == ()
    assert not manifests.complete
    message = only_problem(manifests)
    assert message.startswith(f"a.yaml:{line + 7}: error: {words}"), message
    assert "\n" not in message


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_does_not_end_the_process(opening: str) -> None:
    assert "is nested deeper than 100 levels" in only_problem(read(opening * 200_000))
    assert read(opening * 20).problems


def test_deep_nesting_by_aliases() -> None:
    chain = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 200))
    assert "a.yaml:100: error: is nested deeper than 100 levels" in only_problem(read(chain))


def test_aliases_that_explode() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]" for n in range(1, 60)]
    # a5 stands for 1,111,111 values
    assert only_problem(read("\n".join(lines))) == (
        "a.yaml:6: error: holds aliases that stand for more than 1,000,000 values"
    )


def test_aliases_of_many_documents_are_counted_together() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]" for n in range(1, 5)]
    document = "\n".join(lines) + "\n---\n"
    assert "stand for more than" not in str(read(document).problems)
    assert "stand for more than" in str(read(document * 9).problems)


def test_many_values_without_aliases_are_fine() -> None:
    text = CONFIG.format(name="one", value="'* &'") + "  b: |\n" + "    &*\n" * 1000
    assert read_manifests(text, "a.yaml").problems == ()


def test_mistakes_are_bounded() -> None:
    manifests = read("1: a\n" * 5000)
    assert only_problem(manifests) == "a.yaml:101: error: has more than 100 mistakes in one document"


@pytest.mark.parametrize("file", ["a.yaml", "a.json"])
def test_bytes_that_are_not_utf_8(file: str) -> None:
    manifests = read_manifests(b"a: b\nc: \xff\n", file)
    assert only_problem(manifests) == f"{file}:2: error: is not UTF-8: byte 8 is no part of a character"
    assert not manifests.complete


def test_files_that_are_too_large() -> None:
    manifests = read_manifests(b" " * (MAX_BYTES + 1), "a.yaml")
    assert only_problem(manifests) == (
        "a.yaml: error: has 32.0 MiB, and files above 32 MiB are not read: split it into several files"
    )


# --- JSON


def as_json(*texts: str, indent: int | str | None = 2) -> str:
    values = [yaml.safe_load(text) for text in texts]
    return json.dumps(
        values[0] if len(values) == 1 else {"apiVersion": "v1", "kind": "List", "items": values}, indent=indent
    )


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_json(indent: int | str | None) -> None:
    manifests = read(as_json(ROUTE.format(name="one"), ROUTE.format(name="two"), indent=indent), "a.json")
    assert manifests.problems == ()
    assert manifests.objects == tuple(manifests.objects)
    yaml_manifests = read(ROUTE.format(name="one") + "---\n" + ROUTE.format(name="two"))
    assert [each.resource for each in manifests.objects] == [each.resource for each in yaml_manifests.objects]


def test_several_json_objects_in_a_row() -> None:
    manifests = read(as_json(ROUTE.format(name="one")) + "\n" + as_json(ROUTE.format(name="two")), "a.json")
    assert [(each.resource.key.name, each.line) for each in manifests.objects] == [("one", 1), ("two", 20)]


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_json_problems_have_lines(indent: int | str | None) -> None:
    bad = ROUTE.format(name="bad").replace("80", "'x'")
    text = as_json(ROUTE.format(name="one"), bad, indent=indent)
    manifests = read(text, "a.json")
    problem = manifests.problems[0]
    assert (problem.key, problem.field) == (key("bad"), "items[1].spec.rules[0].backendRefs[0].port")
    assert problem.line == text[: text.index('"x"')].count("\n") + 1


def test_json_duplicate_keys() -> None:
    text = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"},\n "data": {"a": "x",\n"a": "y"}}'
    manifests = read("\n" + text, "a.json")
    assert only_problem(manifests) == (
        'a.json:4: error: ConfigMap default/one data.a: the key "a" on line 4 was given on line 3 already'
    )
    assert list(manifests.failed) == [key("one", "ConfigMap", "")]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("{\n 'a': 1}", 2, "is not JSON: expecting property name enclosed in double quotes"),
        ('{"a": 1}\n x', 2, "is not JSON: expecting value"),
        ('{"a": NaN}', 1, "holds NaN, which JSON does not have"),
        ('{"a": 1e999}', 1, "holds a number that is too large"),
        ('{"a": ' + "9" * 5000 + "}", 1, "holds a number that is too large"),
        ('{"a": "\\ud800"}', 1, "holds half a surrogate pair"),
        ("[" * 101 + "]" * 101, 1, "is nested deeper than 100 levels"),
        ("[" * 200_000, 1, "is nested deeper than 100 levels"),
        ('{"a":' * 200_000, 1, "is nested deeper than 100 levels"),
    ],
)
def test_broken_json(text: str, line: int, words: str) -> None:
    manifests = read_manifests(text, "a.json")
    assert only_problem(manifests) == f"a.json:{line}: error: {words}"
    assert not manifests.complete


def test_json_surrogate_pairs_are_characters() -> None:
    text = as_json(CONFIG.format(name="one", value='"\\U0001F600"'))
    assert "\\ud83d" in text
    assert read_manifests(text, "a.json").problems == ()


# --- lines for later


def test_line_of() -> None:
    text = "# é\n---\n" + ROUTE.format(name="one") + "---\n" + ROUTE.format(name="two")
    second = read_manifests(text.encode(), "a.yaml").objects[1].span
    assert line_of(text, second, "") == 13
    assert line_of(text, second, "spec.rules[7]") == 18
    assert line_of(text.encode(), second, "spec.rules[0].backendRefs[0].weight") == 20
    assert line_of(text, second, "spec.rules[0].backendRefs[0].port") == 21


def test_line_of_an_items_field() -> None:
    item = ROUTE.format(name="one").replace("\n", "\n    ").rstrip(" ")
    for text in (
        f"apiVersion: v1\nkind: List\nitems:\n  -   {item}",
        f"apiVersion: v1\nkind: List\nitems:\n  - &x\n    {item}",
    ):
        manifests = read_manifests(text.replace("-   apiV", "- apiV"), "a.yaml")
        (definition,) = manifests.objects
        port = text[: text.index("port")].count("\n") + 1
        assert line_of(text.replace("-   apiV", "- apiV"), definition.span, "spec.rules[0].backendRefs[0].port") == port


def test_line_of_an_items_field_in_flow_style() -> None:
    text = (
        'apiVersion: v1\nkind: List\nitems: [{"apiVersion":"v1",kind: ConfigMap,\nmetadata: {name: a},\ndata: {b: c}}]'
    )
    (definition,) = read_manifests(text, "a.yaml").objects
    assert line_of(text, definition.span, "data.b") == 5


def test_line_of_json_and_of_keys_with_dots() -> None:
    config = CONFIG.format(name="one", value="x") + "  b.c: y\n"
    text = as_json(config, config.replace("one", "two"), indent="\t")
    definition = read_manifests(text, "a.json").objects[1]
    assert definition.line == 0
    assert line_of(text, definition.span, "data.b.c") == text[: text.rindex("b.c")].count("\n") + 1
    (definition,) = read_manifests(config, "a.yaml").objects
    assert line_of(config, definition.span, "data.b.c") == 7


def test_line_of_what_uses_an_anchor_from_elsewhere_is_its_first() -> None:
    text = (
        "apiVersion: v1\nkind: List\nitems:\n"
        "- {apiVersion: v1, kind: ConfigMap, metadata: {name: a, labels: &l {b: c}}}\n"
        "- {apiVersion: v1, kind: ConfigMap, metadata: {name: b, labels: *l},\n  data: {b: c}}\n"
    )
    second = read_manifests(text, "a.yaml").objects[1]
    assert line_of(text, second.span, "data.b") == 5


def test_an_objects_fields_in_a_row_are_composed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    text = ROUTE.format(name="one")
    (definition,) = read_manifests(text, "a.yaml").objects
    composed: list[str] = []

    class Counting(yamltext.Loader):
        def __init__(self, stream: str) -> None:
            composed.append(stream)
            super().__init__(stream)

    monkeypatch.setattr(documents, "Loader", Counting)
    lines = lines_of(text)
    assert [lines.of(definition.span, (field,)) for field in ("kind", "spec")] == [2, 5]
    assert len(composed) == 1


# --- secrets


SECRET = """\
apiVersion: v1
kind: Secret
metadata:
  name: one
"""


@pytest.mark.parametrize(
    "content",
    [
        "data:\n  password: hunter2!!\n",
        "data:\n  password: [hunter2]\n",
        "data: hunter2\n",
        "stringData: [hunter2]\n",
        "stringData: hunter2: hunter2\n",
        "stringData:\n  password: hunter2\n  password: hunter2\n",
        "stringData:\n  password: !hunter2 x\n",
        "stringData:\n  password: !hunter2!x x\n",
        "stringData:\n  password: *hunter2\n",
        "stringData:\n  password: &hunter2 a\n  other: &hunter2 b\n",
        "stringData:\n  password: %hunter2\n",
        "stringData:\n  password: 'hunter2\n",
        'stringData:\n  password: "hunter2\\q"\n',
        "stringData:\n  password: hunter2\x00\n",
        "stringData:\n  password: !!int hunter2\n",
        "stringData:\n  password: ? hunter2\n",
        "stringData:\n  password: {hunter2\n",
        "stringData:\n  password:\n    deep: hunter2\n",
        "type: [hunter2]\n",
        "immutable: hunter2\n",
    ],
)
@pytest.mark.parametrize("slow", [False, True])
def test_contents_of_secrets_are_never_repeated(content: str, slow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if slow:
        monkeypatch.setattr(documents, "Loader", SlowLoader)
    manifests = read_manifests(SECRET + content, "a.yaml")
    assert manifests.problems
    assert "hunter2" not in "".join(map(str, manifests.problems))


@pytest.mark.parametrize(
    "content",
    ['"data": {"password": "hunter2!"}', '"stringData": {"a": "hunter2", "a": "hunter2"}', '"data": {"a": "hunter2}}'],
)
def test_contents_of_json_secrets_are_never_repeated(content: str) -> None:
    text = '{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one"}, ' + content + "}"
    manifests = read_manifests(text, "a.json")
    assert manifests.problems
    assert "hunter2" not in "".join(map(str, manifests.problems))


# --- with PyYAML's own parser, where it was built without libyaml


class SlowLoader(yamltext._Bounded, yaml.SafeLoader):
    """What `Loader` is there."""


@pytest.mark.parametrize(
    "text",
    [
        ROUTE.format(name="one") + "---\n" + CONFIG.format(name="two", value="2024-01-01"),
        CONFIG.format(name="one", value="x") + "  a: z\n",
        "[" * 150,
        "a: &a [*a]\n",
    ],
)
def test_the_slow_parser_reads_the_same(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = read_manifests(text, "a.yaml")
    monkeypatch.setattr(documents, "Loader", SlowLoader)
    slow = read_manifests(text, "a.yaml")
    assert [(each.resource, each.line) for each in slow.objects] == [
        (each.resource, each.line) for each in fast.objects
    ]
    assert slow.problems == fast.problems


# --- anything at all

PIECES = (
    st.sampled_from("{}[]'#%\t\n\0\"1é")
    | st.sampled_from(
        [
            "apiVersion: v1\n",
            "kind: Secret\n",
            "kind: List\n",
            "items:\n",
            "metadata:\n  name: a\n",
            "---\n",
            "- ",
            "&a ",
        ]
    )
    | st.sampled_from(["*a", ": ", "? ", "!!int ", "<<: ", "|\n", "null"])
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(st.binary(), st.text(), st.lists(PIECES).map("".join)), st.sampled_from(["a.yaml", "a.json"]))
def test_nothing_raises(text: bytes | str, file: str) -> None:
    manifests = read_manifests(text, file)
    assert manifests.problems or manifests.complete
    for definition in manifests.objects:
        assert line_of(text, definition.span, "metadata.name") >= definition.line


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(), VALUES, min_size=1))
def test_json_values_are_read_as_they_are(value: dict[str, object]) -> None:
    (document,) = documents.json_documents(json.dumps(value))
    assert document.value == value
    assert document.mistakes == []
