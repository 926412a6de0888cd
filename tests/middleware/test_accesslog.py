"""One line for each request, however it ends, and none that a client could forge."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from middleware.accesslog import AccessLogMiddleware
from middleware.record import RECORD, RequestRecord, record_of

COMMON = re.compile(
    r'(?P<host>\S+) - (?P<user>\S+) \[(?P<time>[^]]+)\] "(?P<method>\S+) (?P<path>\S+) (?P<proto>\S+)" '
    r'(?P<status>\d+) (?P<bytes>\d+) "(?P<referer>[^"]*)" "(?P<agent>[^"]*)" (?P<count>\d+) '
    r'"(?P<router>[^"]*)" "(?P<url>[^"]*)" (?P<ms>\d+)ms'
)


def http(**scope: Any) -> Scope:
    return {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "method": "GET",
        "path": "/foo bar",
        "raw_path": b"/foo%20bar",
        "query_string": b"a=1",
        "client": ("192.0.2.7", 40000),
        "headers": [(b"host", b"example.com:8000"), (b"user-agent", b"curl/8"), (b"referer", b"http://a/")],
        **scope,
    }


def websocket(**scope: Any) -> Scope:
    result = http(type="websocket", scheme="ws", **scope)
    del result["method"]
    return result


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"Hel", "more_body": True})
    await send({"type": "http.response.body", "body": b"lo"})


def plays(*messages: Message) -> ASGIApp:
    """An application that sends ``messages``; where one is ``{}`` it receives instead."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await (send(message) if message else receive())

    return app


def lines_of(
    app: ASGIApp,
    *scopes: Scope,
    format: Literal["common", "json"] = "json",
    messages: tuple[Message, ...] = ({"type": "http.request"},),
    raises: type[BaseException] | None = None,
) -> list[str]:
    """The lines written for requests of ``scopes``, each of which receives ``messages``."""
    lines: list[str] = []
    middleware = AccessLogMiddleware(app, format=format, write=lines.append)

    async def run() -> None:
        for scope in scopes:
            incoming = iter(messages)

            async def receive(incoming: Any = incoming) -> Message:
                message: Message = next(incoming)
                return message

            async def send(message: Message) -> None:
                pass

            if raises is None:
                await middleware(scope, receive, send)
            else:
                with pytest.raises(raises):
                    await middleware(scope, receive, send)

    asyncio.run(run())
    return lines


def entry(app: ASGIApp, scope: Scope, **options: Any) -> dict[str, Any]:
    (line,) = lines_of(app, scope, **options)
    result: dict[str, Any] = json.loads(line)
    return result


def common(app: ASGIApp, scope: Scope, **options: Any) -> dict[str, str]:
    (line,) = lines_of(app, scope, format="common", **options)
    match = COMMON.fullmatch(line)
    assert match, line
    return match.groupdict()


def test_the_common_line_is_traefiks() -> None:
    (line,) = lines_of(answer, http(), format="common")
    line = re.sub(r"\[[^]]+\]", "[time]", line)
    line = re.sub(r"\d+ms$", "0ms", line)
    assert line == ('192.0.2.7 - - [time] "GET /foo%20bar?a=1 HTTP/1.1" 200 5 "http://a/" "curl/8" 1 "-" "-" 0ms')


def test_the_common_time_is_in_utc_and_english() -> None:
    assert re.fullmatch(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000", common(answer, http())["time"])


def test_what_is_not_known_is_a_dash() -> None:
    found = common(answer, http(client=None, headers=[]))
    assert (found["host"], found["referer"], found["agent"], found["router"]) == ("-", "-", "-", "-")


def test_json_has_traefiks_keys_and_the_flags() -> None:
    assert entry(answer, http()).keys() == {
        "ClientAddr",
        "ClientHost",
        "ClientPort",
        "ClientUsername",
        "DownstreamContentSize",
        "DownstreamStatus",
        "Duration",
        "OriginDuration",
        "OriginStatus",
        "Overhead",
        "RequestAddr",
        "RequestContentSize",
        "RequestCount",
        "RequestHost",
        "RequestMethod",
        "RequestPath",
        "RequestPort",
        "RequestProtocol",
        "RequestScheme",
        "ResponseFlags",
        "RetryAttempts",
        "RouterName",
        "ServiceAddr",
        "ServiceName",
        "ServiceURL",
        "StartLocal",
        "StartUTC",
        "entryPointName",
        "level",
        "msg",
        "time",
    }


def test_json_tells_client_and_request() -> None:
    found = entry(answer, http(state={"listener": "web"}))
    expected = {
        "ClientAddr": "192.0.2.7:40000",
        "ClientHost": "192.0.2.7",
        "ClientPort": "40000",
        "ClientUsername": "-",
        "RequestAddr": "example.com:8000",
        "RequestHost": "example.com",
        "RequestPort": "8000",
        "RequestMethod": "GET",
        "RequestPath": "/foo%20bar?a=1",
        "RequestProtocol": "HTTP/1.1",
        "RequestScheme": "http",
        "DownstreamStatus": 200,
        "DownstreamContentSize": 5,
        "ResponseFlags": "-",
        "entryPointName": "web",
    }
    assert {key: found[key] for key in expected} == expected


def test_an_ipv6_client_is_written_in_brackets() -> None:
    assert entry(answer, http(client=("2001:db8::1", 1)))["ClientAddr"] == "[2001:db8::1]:1"


def test_json_times_are_rfc_3339() -> None:
    found = entry(answer, http())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", found["StartUTC"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}[+-]\d\d:\d\d", found["StartLocal"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", found["time"])


def test_what_the_proxy_noted_is_logged() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        record = record_of({**scope})  # a copy further in shares the record
        assert record is not None
        record.route, record.backend, record.endpoint = "default/app[0]", "default/whoami:80", "http://10.0.0.7:80"
        record.origin_status, record.origin_duration_ns, record.retries = 201, 7, 2
        record.add_flag("UF")
        await answer(scope, receive, send)

    found = entry(app, http())
    assert (found["RouterName"], found["ServiceName"]) == ("default/app[0]", "default/whoami:80")
    assert (found["ServiceURL"], found["OriginStatus"]) == ("http://10.0.0.7:80", 201)
    assert (found["OriginDuration"], found["RetryAttempts"], found["ResponseFlags"]) == (7, 2, "UF")
    assert found["Overhead"] == found["Duration"] - 7


def test_a_record_that_is_there_already_is_used() -> None:
    assert entry(answer, http(**{RECORD: RequestRecord(route="known")}))["RouterName"] == "known"


def test_without_a_record_there_is_none() -> None:
    assert record_of(http()) is None


def test_flags_are_joined_once_each() -> None:
    record = RequestRecord()
    for flag in ("UF", "", "DC", "UF"):
        record.add_flag(flag)
    assert record.flags == "UF,DC"


def test_requests_are_counted() -> None:
    counts = [json.loads(line)["RequestCount"] for line in lines_of(answer, http(), http(), http())]
    assert counts == [1, 2, 3]


def test_the_request_body_is_measured() -> None:
    messages = ({"type": "http.request", "body": b"abc", "more_body": True}, {"type": "http.request", "body": b"de"})
    app = plays({}, {}, {"type": "http.response.start", "status": 204}, {"type": "http.response.body"})
    assert entry(app, http(), messages=messages)["RequestContentSize"] == 5


def test_the_body_that_head_does_not_get_is_not_counted() -> None:
    assert entry(answer, http(method="HEAD"))["DownstreamContentSize"] == 0


def test_a_failing_application_is_logged_as_500() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError

    assert entry(app, http(), raises=RuntimeError)["DownstreamStatus"] == 500


def test_a_failure_in_the_midst_keeps_the_status_that_was_sent() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 206, "headers": []})
        raise RuntimeError

    assert entry(app, http(), raises=RuntimeError)["DownstreamStatus"] == 206


def test_a_cancelled_request_is_logged() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise asyncio.CancelledError

    assert entry(app, http(), raises=asyncio.CancelledError)["DownstreamStatus"] == 500


def test_a_client_that_leaves_before_the_answer_is_logged_as_499() -> None:
    found = entry(plays({}), http(), messages=({"type": "http.disconnect"},))
    assert (found["DownstreamStatus"], found["ResponseFlags"]) == (499, "DC")


def test_a_client_that_leaves_during_the_answer_is_flagged() -> None:
    app = plays({"type": "http.response.start", "status": 200}, {})
    found = entry(app, http(), messages=({"type": "http.disconnect"},))
    assert (found["DownstreamStatus"], found["ResponseFlags"]) == (200, "DC")


def test_a_client_that_leaves_after_the_answer_is_not() -> None:
    app = plays({"type": "http.response.start", "status": 200}, {"type": "http.response.body"}, {})
    assert entry(app, http(), messages=({"type": "http.disconnect"},))["ResponseFlags"] == "-"


@pytest.mark.parametrize(
    ("messages", "version", "status"),
    [
        ([{"type": "websocket.accept"}, {"type": "websocket.close"}], "1.1", 101),
        ([{"type": "websocket.accept"}], "2", 200),
        ([{"type": "websocket.close"}], "1.1", 403),
        ([{"type": "websocket.http.response.start", "status": 404}], "1.1", 404),
    ],
)
def test_a_websocket_has_the_status_of_its_handshake(messages: list[Message], version: str, status: int) -> None:
    assert entry(plays(*messages), websocket(http_version=version))["DownstreamStatus"] == status


def test_websocket_messages_are_measured_in_bytes() -> None:
    app = plays(
        {"type": "websocket.accept"},
        {},
        {"type": "websocket.send", "text": "ü"},
        {"type": "websocket.send", "bytes": b"abc", "text": None},
    )
    found = entry(app, websocket(), messages=({"type": "websocket.receive", "bytes": b"abcd"},))
    assert (found["RequestContentSize"], found["DownstreamContentSize"]) == (4, 5)


@pytest.mark.parametrize(("code", "flags"), [(1000, "-"), (1006, "DC")])
def test_a_websocket_that_breaks_is_flagged_and_one_that_closes_is_not(code: int, flags: str) -> None:
    app = plays({"type": "websocket.accept"}, {})
    assert entry(app, websocket(), messages=({"type": "websocket.disconnect", "code": code},))["ResponseFlags"] == flags


@pytest.mark.parametrize(("version", "protocol"), [("1.0", "HTTP/1.0"), ("1.1", "HTTP/1.1"), ("2", "HTTP/2.0")])
def test_the_protocol_is_written_as_traefik_does(version: str, protocol: str) -> None:
    assert common(answer, http(http_version=version))["proto"] == protocol


def test_a_path_without_its_raw_form_is_quoted() -> None:
    assert common(answer, http(raw_path=None, query_string=b""))["path"] == "/foo%20bar"


def test_no_other_header_is_logged() -> None:
    secrets = [(b"authorization", b"Basic c2VjcmV0"), (b"cookie", b"c2VjcmV0"), (b"x-real-ip", b"c2VjcmV0")]
    for format in ("common", "json"):
        (line,) = lines_of(answer, http(headers=secrets), format=format)
        assert "c2VjcmV0" not in line


def test_a_user_agent_cannot_end_its_quotes() -> None:
    scope = http(headers=[(b"user-agent", b'x" 200 0 "\\\r\n\xff')])
    assert common(answer, scope)["agent"] == r"x\x22 200 0 \x22\x5c\x0d\x0a\xff"


def test_a_path_cannot_pass_for_more_than_one_word() -> None:
    assert common(answer, http(raw_path=b"/ HTTP/9"))["path"] == r"/\x20HTTP/9?a=1"


def test_a_log_that_cannot_be_written_does_not_fail_the_request(caplog: pytest.LogCaptureFixture) -> None:
    def write(line: str) -> None:
        raise OSError("disk full")

    sent: list[Message] = []
    run(AccessLogMiddleware(answer, write=write), http(), sent)
    assert len(sent) == 3
    assert "AccessLog failed" in caplog.text


def test_without_a_writer_the_line_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    middleware = AccessLogMiddleware(answer)
    run(middleware, http(), [])
    middleware.observers[0]._write.__self__.close()  # type: ignore[attr-defined]
    assert COMMON.fullmatch(capsys.readouterr().out.rstrip("\n"))


def test_other_scope_types_pass_without_a_line() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert RECORD not in scope

    assert lines_of(app, {"type": "lifespan"}) == []


def run(app: Callable[[Scope, Receive, Send], Awaitable[None]], scope: Scope, sent: list[Message]) -> None:
    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def main() -> None:
        await app(scope, receive, send)

    asyncio.run(main())


client_scopes = st.fixed_dictionaries(
    {
        "method": st.text(min_size=1),
        "raw_path": st.binary(),
        "query_string": st.binary(),
        "headers": st.lists(
            st.tuples(st.sampled_from([b"host", b"user-agent", b"referer", b"authorization"]), st.binary())
        ),
    }
)


@given(client_scopes)
def test_whatever_a_client_sends_the_common_line_keeps_its_form(sent: dict[str, Any]) -> None:
    (line,) = lines_of(answer, http(**sent), format="common")
    assert line.isascii()
    assert line.isprintable()
    assert line.count('"') == 10
    assert COMMON.fullmatch(line)


@given(client_scopes)
def test_whatever_a_client_sends_the_json_line_is_one_object(sent: dict[str, Any]) -> None:
    (line,) = lines_of(answer, http(**sent))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["RequestMethod"] == sent["method"]
