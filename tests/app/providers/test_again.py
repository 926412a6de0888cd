"""A large file that changes is read as it would be for the first time, and sooner."""

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.providers import again
from app.providers.again import Parts, read_again
from app.providers.manifests import Definition, Manifests, read_manifests
from routes.resources.meta import Key

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n  a: |\n    {value}\n"
DOCUMENTS = [
    *(CONFIG.format(name=name, value=value) for name in "abcd" for value in ("x", "y\n    --- no end\n    z")),
    "# nothing but words\n",
    "\n",
    "just text\n",
    "kind: List\napiVersion: v1\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: e}}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: []}\n",
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndatas: {}\n",
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ü}\n",
    "a: 'é\u2028'\n",
    "b: &here 1\n",
    "c: {\n",
]
GOOD = DOCUMENTS[:10] + DOCUMENTS[11:12]
MARKS = ["---\n", "--- # a comment\n", "---\r\n"]


@pytest.fixture(autouse=True, scope="module")
def small_files_too() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(again, "_SMALL", 0)
        yield


def definitions(manifests: Manifests) -> dict[Key, Definition]:
    return {each.resource.key: each for each in manifests.objects}


@settings(max_examples=1500, deadline=None)
@given(st.integers(0, 2**64))
def test_what_is_read_again_is_what_would_be_read_anew(seed: int) -> None:
    """Objects, lines, spans and problems, whatever was changed, moved, added or taken away."""
    chance = Random(seed)
    pool = GOOD if chance.random() < 0.7 else DOCUMENTS
    documents = [chance.choice(pool) for _ in range(chance.randint(1, 6))]
    parts = Parts()
    before: dict[Key, Definition] = {}
    for _ in range(4):
        text = chance.choice(["", "# first\n", "---\n"]) + "".join(
            (chance.choice(MARKS) if index else "") + document for index, document in enumerate(documents)
        )
        found, parts = read_again(text.encode(), "f.yaml", frozenset(), parts, before)
        assert found == read_manifests(text.encode(), "f.yaml")
        before = definitions(found)
        match chance.randrange(3):
            case 0:
                documents[chance.randrange(len(documents))] = chance.choice(pool)
            case 1:
                documents.insert(chance.randrange(len(documents) + 1), chance.choice(pool))
            case _:
                chance.shuffle(documents)


def test_only_the_document_that_changed_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [CONFIG.format(name=name, value="x") for name in ("a", "b", "c")]
    first, parts = read_again("---\n".join(texts).encode(), "f.yaml", frozenset(), Parts(), {})
    decoded: list[str] = []

    def spy(text: str, *rest: object) -> Manifests:
        decoded.append(text)
        return read_manifests(text, "f.yaml")

    monkeypatch.setattr(again, "read_manifests", spy)
    texts[1] = CONFIG.format(name="b", value="longer\n    and longer")
    second, _ = read_again("---\n".join(texts).encode(), "f.yaml", frozenset(), parts, definitions(first))
    [text] = decoded
    assert [line for line in text.split("\n") if line.strip("#")] == ["---", *texts[1].rstrip().split("\n")]
    assert second.objects[0].resource is first.objects[0].resource
    assert second.objects[2].resource is first.objects[2].resource
    assert second.objects[2].line == first.objects[2].line + 1
