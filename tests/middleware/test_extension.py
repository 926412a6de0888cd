"""Filters of other people's: how they are made, and that they fail for themselves alone."""

import logging
from typing import Any

import pytest
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from middleware.errors import ErrorMiddleware
from middleware.extension import Extensions
from middleware.filters import around
from routes.resources.extension import Extension
from routes.resources.filters import HTTPHeader, HTTPHeaderFilter, LocalObjectReference
from routes.resources.meta import ObjectMeta
from routes.table.types import Filter
from tests.helpers.asgi import Answer, Backend, ask, request

REF = LocalObjectReference(group="example.com", kind="Stamp", name="s")


class Stamp:
    """Says in a field of the request what it was made with."""

    def __init__(self, app: ASGIApp, *, text: str = "-", repeat_times: int = 1) -> None:
        if repeat_times < 0:
            raise ValueError("repeatTimes must not be negative")
        self.app = app
        self.value = (text * repeat_times).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, "headers": [*scope["headers"], (b"stamp", self.value)]}, receive, send)


EXTENSIONS: Extensions = {("example.com", "Stamp"): Stamp, ("example.com", "GZip"): GZipMiddleware}


def extension(kind: str = "Stamp", **spec: Any) -> Filter:
    named = Extension(
        api_version="example.com/v1", kind=kind, metadata=ObjectMeta(name="s", namespace="default"), spec=spec
    )
    return Filter("ExtensionRef", REF, extension=named)


def through(backend: Backend, *filters: Filter, extensions: Extensions = EXTENSIONS, **scope: Any) -> Answer:
    app = around(backend, filters, None, lambda _: backend, extensions)
    return ask(ErrorMiddleware(app), request(**scope))


def test_a_filter_is_made_with_the_fields_of_its_objects_spec() -> None:
    backend = Backend()
    through(backend, extension(text="ab", repeatTimes=2))
    assert backend.values(b"stamp") == [b"abab"]


def test_middleware_that_knows_nothing_of_a_gateway_can_be_a_filter() -> None:
    backend = Backend(fields=[(b"content-type", b"text/plain")], body=b"a" * 100)
    asked: dict[str, Any] = {"fields": [(b"accept-encoding", b"gzip")]}
    answer = through(backend, extension("GZip", minimumSize=50), **asked)
    assert answer.values(b"content-encoding") == [b"gzip"]
    assert through(backend, extension("GZip", minimumSize=500), **asked).values(b"content-encoding") == []


def test_filters_run_in_the_order_of_the_list() -> None:
    change = Filter("RequestHeaderModifier", HTTPHeaderFilter(add=(HTTPHeader(name="Stamp", value="ours"),)))
    backend = Backend()
    through(backend, extension(text="1"), change, extension(text="2"))
    assert backend.values(b"stamp") == [b"1", b"ours", b"2"]


@pytest.mark.parametrize(
    ("filter_", "sentence"),
    [
        (extension(repeatTimes=-1), "repeatTimes must not be negative"),
        (extension(colour="red"), "unexpected keyword argument 'colour'"),
        (extension(repeatTimes=1, repeat_times=2), "two spellings"),
        (extension("Unknown"), "no filter is installed for Unknown.example.com"),
    ],
)
def test_a_filter_that_cannot_be_made_costs_its_requests_and_is_told_once(
    filter_: Filter, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    backend = Backend()
    app = ErrorMiddleware(around(backend, (filter_,), None, lambda _: backend, EXTENSIONS))
    assert [ask(app, request()).status for _ in range(2)] == [500, 500]
    assert not backend.scopes
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert sentence in record.getMessage()
    assert f"{filter_.extension.kind} default/s" in record.getMessage() if filter_.extension else False


def test_a_filter_without_its_object_answers_500() -> None:
    backend = Backend()
    assert through(backend, Filter("ExtensionRef", REF)).status == 500
    assert through(backend, Filter("ExtensionRef", REF, invalid="Stamp default/s does not exist")).status == 500
    assert not backend.scopes


def test_a_filter_that_fails_at_a_request_costs_that_request(caplog: pytest.LogCaptureFixture) -> None:
    class Moody:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/bad":
                raise ZeroDivisionError
            await self.app(scope, receive, send)

    backend = Backend()
    extensions: Extensions = {("example.com", "Moody"): Moody}
    assert through(backend, extension("Moody"), extensions=extensions, target="/bad").status == 500
    assert through(backend, extension("Moody"), extensions=extensions, target="/good").status == 200
    assert "ZeroDivisionError" in caplog.text


def test_a_type_that_nobody_knows_answers_500() -> None:
    backend = Backend()
    assert through(backend, Filter("Teleport", HTTPHeaderFilter())).status == 500
    assert not backend.scopes
