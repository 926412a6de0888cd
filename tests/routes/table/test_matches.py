"""Method, header and query predicates, sentence by sentence."""

from typing import Any

import pytest

from routes.resources.http import HTTPRoute, HTTPRouteMatch, HTTPRouteRule, HTTPRouteSpec
from routes.resources.meta import ObjectMeta
from routes.table.matches import Entry, field_value, first_values


def entry(match: dict[str, Any]) -> Entry[str]:
    spec = HTTPRouteSpec(rules=(HTTPRouteRule(matches=(HTTPRouteMatch.model_validate(match),)),))
    return Entry.of("handler", HTTPRoute(metadata=ObjectMeta(name="a", namespace="b"), spec=spec), 0, 0)


def accepts(
    match: dict[str, Any], method: str = "GET", headers: tuple[tuple[bytes, bytes], ...] = (), query: bytes = b""
) -> bool:
    return entry(match).accepts(method, headers, query)


def headers(*names_and_values: tuple[str, str]) -> dict[str, Any]:
    return {"headers": [{"name": name, "value": value} for name, value in names_and_values]}


def query(*names_and_values: tuple[str, str]) -> dict[str, Any]:
    return {"queryParams": [{"name": name, "value": value} for name, value in names_and_values]}


def test_a_match_of_path_alone_has_nothing_left_to_ask() -> None:
    """Such an entry is taken without a look at the request."""
    anything = entry({})
    assert anything.plain
    assert anything.accepts("PATCH", ((b"a", b"b"),), b"c=d")


@pytest.mark.parametrize("match", [{"method": "GET"}, headers(("a", "b")), query(("a", "b"))])
def test_a_match_with_a_predicate_is_not_plain(match: dict[str, Any]) -> None:
    """Whatever is asked must be asked."""
    assert not entry(match).plain


def test_a_method_is_matched_exactly() -> None:
    """``method``: exact upper-case enum."""
    assert accepts({"method": "GET"}, "GET")
    assert not accepts({"method": "GET"}, "get")
    assert not accepts({"method": "GET"}, "HEAD")


def test_a_header_has_any_case_in_its_name_and_exactly_its_value() -> None:
    """Names case-insensitive, values exact. A request's names are lower case when they get here."""
    assert accepts(headers(("Version", "One")), headers=((b"version", b"One"),))
    assert not accepts(headers(("Version", "One")), headers=((b"version", b"one"),))
    assert not accepts(headers(("Version", "One")), headers=((b"version", b"One more"),))
    assert not accepts(headers(("Version", "One")), headers=((b"versions", b"One"),))


def test_all_headers_of_a_match_must_fit() -> None:
    """Multiple match values are ANDed together."""
    both = headers(("a", "1"), ("b", "2"))
    assert accepts(both, headers=((b"b", b"2"), (b"x", b"y"), (b"a", b"1")))
    assert not accepts(both, headers=((b"a", b"1"),))


def test_of_a_header_name_given_twice_only_the_first_entry_counts() -> None:
    """Subsequent entries with an equivalent header name MUST be ignored."""
    twice = headers(("Version", "1"), ("version", "2"))
    assert accepts(twice, headers=((b"version", b"1"),))
    assert not accepts(twice, headers=((b"version", b"2"),))
    assert not accepts(twice, headers=((b"version", b"1"), (b"version", b"2")))
    assert entry(twice).headers == ((b"version", b"1"),)


def test_repeated_fields_of_a_request_are_one_value() -> None:
    """RFC 9110 §5.3: joined by a comma, in their order."""
    fields = ((b"accept", b"a"), (b"x", b"y"), (b"accept", b"b"))
    assert field_value(fields, b"accept") == b"a,b"
    assert field_value(fields, b"absent") is None
    assert accepts(headers(("accept", "a,b")), headers=fields)
    assert not accepts(headers(("accept", "a")), headers=fields)


def test_an_empty_field_is_not_an_absent_one() -> None:
    """A field is there even if it says nothing."""
    assert field_value(((b"a", b""),), b"a") == b""


def test_a_query_parameter_is_matched_exactly_after_decoding() -> None:
    """Names are compared exactly (case-sensitive), values exact after decoding."""
    assert accepts(query(("animal", "whale")), query=b"animal=whale")
    assert accepts(query(("animal", "blue whale/1")), query=b"x=y&%61nimal=blue+whale%2F1")
    assert not accepts(query(("animal", "whale")), query=b"Animal=whale")
    assert not accepts(query(("animal", "whale")), query=b"animal=Whale")
    assert not accepts(query(("animal", "whale")), query=b"animal=whales")
    assert not accepts(query(("animal", "whale")), query=b"")


def test_all_query_parameters_of_a_match_must_fit() -> None:
    """Multiple match values are ANDed together."""
    both = query(("a", "1"), ("b", "2"))
    assert accepts(both, query=b"b=2&c=3&a=1")
    assert not accepts(both, query=b"a=1")


def test_of_a_query_parameter_repeated_in_the_request_the_first_counts() -> None:
    """Recommended by the API: look at the first value."""
    assert accepts(query(("a", "1")), query=b"a=1&a=2")
    assert not accepts(query(("a", "2")), query=b"a=1&a=2")


def test_a_query_string_is_read_as_a_form_is() -> None:
    """Pairs at ``&``, name and value at the first ``=``, escapes and ``+`` decoded; a bare name has an empty value."""
    assert first_values(b"a=1&b=x=y&c&%64=e%3D&f=g+h") == {"a": "1", "b": "x=y", "c": "", "d": "e=", "f": "g h"}


@pytest.mark.parametrize("raw", [b"%", b"%zz=1", b"\xff=\xfe", b"&&&", b"=", b"%ff=%fe"])
def test_a_query_string_that_is_no_form_is_read_all_the_same(raw: bytes) -> None:
    """A client can send anything."""
    assert first_values(raw) is not None
    assert not accepts(query(("a", "1")), query=raw)


def test_method_headers_and_query_must_all_fit() -> None:
    """Inside one match path AND method AND all headers AND all queryParams."""
    match = {"method": "POST"} | headers(("a", "1")) | query(("b", "2"))
    assert accepts(match, "POST", ((b"a", b"1"),), b"b=2")
    assert not accepts(match, "GET", ((b"a", b"1"),), b"b=2")
    assert not accepts(match, "POST", (), b"b=2")
    assert not accepts(match, "POST", ((b"a", b"1"),), b"")


def test_a_regular_expression_is_asked_of_the_whole_value_of_a_header() -> None:
    """HTTPHeaderMatch, type RegularExpression: implementation-specific; the whole of the value that Exact compares."""
    two = {"headers": [{"type": "RegularExpression", "name": "Version", "value": "v[0-9]+(,v[0-9]+)*"}]}
    assert accepts(two, headers=((b"version", b"v12"),))
    assert accepts(two, headers=((b"version", b"v1"), (b"version", b"v2")))
    assert not accepts(two, headers=((b"version", b"v12 "),))
    assert not accepts(two, headers=((b"version", b"V1"),))
    assert not accepts(two)


def test_a_regular_expression_is_asked_of_the_whole_decoded_value_of_a_parameter() -> None:
    """HTTPQueryParamMatch, type RegularExpression: as above; names are compared exactly."""
    animal = {"queryParams": [{"type": "RegularExpression", "name": "animal", "value": "(blue|grey) whale"}]}
    assert accepts(animal, query=b"animal=blue+whale")
    assert accepts(animal, query=b"animal=grey%20whale&animal=x")
    assert not accepts(animal, query=b"animal=x&animal=grey%20whale")
    assert not accepts(animal, query=b"animal=a+blue+whale")
    assert not accepts(animal, query=b"animal")


def test_a_value_that_is_not_utf_8_is_no_error_for_a_regular_expression() -> None:
    """A client can send anything."""
    anything = {
        "headers": [{"type": "RegularExpression", "name": "a", "value": ".*"}],
        "queryParams": [{"type": "RegularExpression", "name": "a", "value": ".*"}],
    }
    assert not accepts(anything, headers=((b"a", b"\xff\xfe"),), query=b"a=%ff")
    assert accepts(anything, headers=((b"a", "é".encode()),), query=b"a=%ff")
