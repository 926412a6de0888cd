"""Patterns of matches: RE2, whole values, bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.regex import compile_pattern, pattern_fault


@pytest.mark.parametrize(
    ("pattern", "value", "fits"),
    [
        ("/a|/b", b"/a", True),
        ("/a|/b", b"/b", True),
        ("/a|/b", b"/ab", False),
        ("/v[0-9]+", b"/v12", True),
        ("/v[0-9]+", b"/v12/x", False),
        ("/v[0-9]+", b"x/v12", False),
        ("/v[0-9]+.*", b"/v12/x", True),
        ("^/a$", b"/a", True),
        ("(?i)/a", b"/A", True),
        ("", b"", True),
        ("", b"x", False),
    ],
)
def test_a_pattern_is_for_the_whole_value(pattern: str, value: bytes, fits: bool) -> None:
    assert compile_pattern(pattern).matches(value) is fits


def test_a_dot_is_a_character_of_utf_8() -> None:
    assert compile_pattern("gr.n").matches("grün".encode())
    assert not compile_pattern("gr.n").matches("grün".encode("latin-1"))


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("(", "missing ): ("),
        ("(?=a)", "invalid perl operator: (?="),
        (r"(a)\1", r"invalid escape sequence: \1"),
        ("a{1001}", "invalid repetition size: {1001}"),
        (r"(\pL{100}){10}", "pattern too large - compile failed"),
    ],
)
def test_what_re2_cannot_do_is_told(pattern: str, fault: str) -> None:
    assert pattern_fault(pattern) == fault
    with pytest.raises(ValueError) as refused:
        compile_pattern(pattern)
    assert str(refused.value) == fault


def test_a_good_pattern_has_no_fault() -> None:
    assert pattern_fault("/a/[^/]+") == ""


@given(st.text())
def test_any_text_is_a_pattern_or_has_a_fault(text: str) -> None:
    if not pattern_fault(text):
        assert compile_pattern(text).matches(b"") in (True, False)
