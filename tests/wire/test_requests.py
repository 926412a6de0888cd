"""From a client's bytes to what the application gets, or to the refusal that the client gets.

Every case runs whole, byte by byte, and cut in two at every place, with one and the same outcome.
"""

import re

import pytest

from tests.wire.harness import Fields, Loop, Outcome, Recorder, Seen, Server, however_cut, outcome

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
OK_CLOSE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"

HOST: Fields = [(b"host", b"a")]


def get(target: bytes = b"/", *fields: tuple[bytes, bytes], method: str = "GET") -> Seen:
    return Seen(method, target, [*HOST, *fields])


def post(body: bytes, *fields: tuple[bytes, bytes]) -> Seen:
    return Seen("POST", b"/", [*HOST, *fields], body)


def run(loop: Loop, data: bytes) -> Outcome:
    return however_cut(data, lambda pieces: outcome(loop, pieces))


CHUNKED = (b"transfer-encoding", b"chunked")
POST_CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n"

SERVED: list[tuple[str, bytes, list[Seen]]] = [
    # Heads: RFC 9112 §2, §3, §5
    ("a plain request", GET + b"\r\n", [get()]),
    ("names of fields are in lower case", GET + b"X-UPPER: V\r\n\r\n", [get(b"/", (b"x-upper", b"V"))]),
    (
        "a field of the same name twice stays twice, in order (RFC 9110 §5.3)",
        GET + b"X: 1\r\nY: 2\r\nX: 3\r\n\r\n",
        [get(b"/", (b"x", b"1"), (b"y", b"2"), (b"x", b"3"))],
    ),
    ("an empty value", GET + b"X:\r\n\r\n", [get(b"/", (b"x", b""))]),
    ("a value of nothing but blanks is empty (§5.1)", GET + b"X: \t \r\n\r\n", [get(b"/", (b"x", b""))]),
    ("blanks around a value are not part of it (§5.1)", GET + b"X: \t v \t\r\n\r\n", [get(b"/", (b"x", b"v"))]),
    ("blanks within a value stay", GET + b"X: a  b\tc\r\n\r\n", [get(b"/", (b"x", b"a  b\tc"))]),
    ("no blank behind the colon", GET + b"X:v\r\n\r\n", [get(b"/", (b"x", b"v"))]),
    (
        "bytes beyond ASCII in a value (obs-text, RFC 9110 §5.5)",
        GET + b"X: \xe2\x82\xac\xff\r\n\r\n",
        [get(b"/", (b"x", b"\xe2\x82\xac\xff"))],
    ),
    (
        "every character of a token in a name (RFC 9110 §5.6.2)",
        GET + b"!#$%&'*+-.^_`|~09azAZ: v\r\n\r\n",
        [get(b"/", (b"!#$%&'*+-.^_`|~09azaz", b"v"))],
    ),
    ("a colon in a value", GET + b"X: a:b\r\n\r\n", [get(b"/", (b"x", b"a:b"))]),
    ("an empty line before the request (§2.2)", b"\r\n" + GET + b"\r\n", [get()]),
    ("empty lines between requests (§2.2)", GET + b"\r\n\r\n\r\n" + GET + b"\r\n", [get(), get()]),
    ("blanks around the Host", b"GET / HTTP/1.1\r\nHost: \t a \t\r\n\r\n", [get()]),
    (
        "a Host that is not the first field",
        b"GET / HTTP/1.1\r\nX: 1\r\nHost: a\r\n\r\n",
        [Seen("GET", b"/", [(b"x", b"1"), (b"host", b"a")])],
    ),
    # Methods: RFC 9110 §9
    *[
        (f"{method}", f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode(), [get(method=method)])
        for method in ("DELETE", "PATCH", "PUT", "OPTIONS", "TRACE", "QUERY", "PROPFIND", "M-SEARCH")
    ],
    # Targets: RFC 9112 §3.2
    ("a path and a query", b"GET /a/b?c=d&e HTTP/1.1\r\nHost: a\r\n\r\n", [get(b"/a/b?c=d&e")]),
    ("escapes stay as they are", b"GET /%2F%zz%e2?%20 HTTP/1.1\r\nHost: a\r\n\r\n", [get(b"/%2F%zz%e2?%20")]),
    ("a second question mark belongs to the query", b"GET /?a?b HTTP/1.1\r\nHost: a\r\n\r\n", [get(b"/?a?b")]),
    ("two slashes begin a path, too", b"GET //b/c HTTP/1.1\r\nHost: a\r\n\r\n", [get(b"//b/c")]),
    (
        "every character that a path may hold (RFC 3986 §3.3)",
        b"GET /a-._~!$&'()*+,;=:@[] HTTP/1.1\r\nHost: a\r\n\r\n",
        [get(b"/a-._~!$&'()*+,;=:@[]")],
    ),
    (
        "characters that should be encoded and that browsers send as they are",
        b"GET /a?b={c|d}^`e HTTP/1.1\r\nHost: a\r\n\r\n",
        [get(b"/a?b={c|d}^`e")],
    ),
    (
        "an absolute target, whose authority takes the Host's place (§3.2.2)",
        b"GET http://b:81/x?y HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n",
        [Seen("GET", b"/x?y", [(b"host", b"b:81"), (b"x", b"1")])],
    ),
    (
        "an absolute target without a path",
        b"GET http://b HTTP/1.1\r\nHost: a\r\n\r\n",
        [Seen("GET", b"/", [(b"host", b"b")])],
    ),
    (
        "an absolute target with nothing but a query",
        b"GET http://b?y HTTP/1.1\r\nHost: a\r\n\r\n",
        [Seen("GET", b"/?y", [(b"host", b"b")])],
    ),
    (
        "the scheme of an absolute target in capitals",
        b"GET HTTPS://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        [Seen("GET", b"/", [(b"host", b"b")])],
    ),
    ("OPTIONS of the whole server (§3.2.4)", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", [get(b"*", method="OPTIONS")]),
    (
        "OPTIONS of the whole server in absolute form (§3.2.4)",
        b"OPTIONS http://b:81 HTTP/1.1\r\nHost: a\r\n\r\n",
        [Seen("OPTIONS", b"*", [(b"host", b"b:81")])],
    ),
    (
        "OPTIONS of a path in absolute form",
        b"OPTIONS http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        [Seen("OPTIONS", b"/", [(b"host", b"b")])],
    ),
    # Hosts: RFC 9110 §7.2
    *[
        (
            f"Host {host}",
            f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(),
            [Seen("GET", b"/", [(b"host", host.encode())])],
        )
        for host in ("a.example:8080", "192.0.2.1", "[::1]", "[2001:db8::1]:8080", "a:", "A-b_c~d.%41!$&'()*+,;=")
    ],
    (
        "an empty Host, which an http URL without authority would have",
        b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
        [Seen("GET", b"/", [(b"host", b"")])],
    ),
    # Bodies: RFC 9112 §6, §7
    ("a body of known length", POST + b"Content-Length: 5\r\n\r\nhello", [post(b"hello", (b"content-length", b"5"))]),
    (
        "a length with zeros before it",
        POST + b"Content-Length: 0005\r\n\r\nhello",
        [post(b"hello", (b"content-length", b"0005"))],
    ),
    (
        "a length with blanks around it",
        POST + b"Content-Length: \t5 \t\r\n\r\nhello",
        [post(b"hello", (b"content-length", b"5"))],
    ),
    ("an empty body of known length", POST + b"Content-Length: 0\r\n\r\n", [post(b"", (b"content-length", b"0"))]),
    ("POST without a length has no body (§6.3)", POST + b"\r\n", [post(b"")]),
    (
        "GET with a body",
        GET + b"Content-Length: 2\r\n\r\nhi",
        [Seen("GET", b"/", [*HOST, (b"content-length", b"2")], b"hi")],
    ),
    ("a chunked body", POST_CHUNKED + b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", [post(b"abc0123456789", CHUNKED)]),
    ("an empty chunked body", POST_CHUNKED + b"0\r\n\r\n", [post(b"", CHUNKED)]),
    (
        "the coding in capitals and blanks",
        POST + b"Transfer-Encoding: \tCHUNKED \r\n\r\n1\r\na\r\n0\r\n\r\n",
        [post(b"a", (b"transfer-encoding", b"CHUNKED"))],
    ),
    ("a size with zeros before it", POST_CHUNKED + b"0003\r\nabc\r\n000\r\n\r\n", [post(b"abc", CHUNKED)]),
    (
        "a chunk's extension is passed over (§7.1.1)",
        POST_CHUNKED + b'3;a;b=c;d="e"\r\nabc\r\n0;x\r\n\r\n',
        [post(b"abc", CHUNKED)],
    ),
    ("line breaks in a chunk's data", POST_CHUNKED + b"4\r\n\r\n\r\n\r\n0\r\n\r\n", [post(b"\r\n\r\n", CHUNKED)]),
    (
        "trailers never get among the fields (§7.1.2)",
        POST_CHUNKED + b"1\r\na\r\n0\r\nX: 1\r\nHost: evil\r\n\r\n",
        [post(b"a", CHUNKED)],
    ),
    (
        "trailers do not get among the next request's fields",
        POST_CHUNKED + b"0\r\nX: 1\r\n\r\n" + GET + b"\r\n",
        [post(b"", CHUNKED), get()],
    ),
    (
        "a body that looks like a request",
        POST + b"Content-Length: 27\r\n\r\n" + GET + b"\r\n",
        [post(GET + b"\r\n", (b"content-length", b"27"))],
    ),
    # Pipelining: RFC 9112 §9.3.2
    (
        "three requests at once are answered in their order",
        b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(3)),
        [get(b"/0"), get(b"/1"), get(b"/2")],
    ),
    (
        "a request behind a body of known length",
        POST + b"Content-Length: 2\r\n\r\nhi" + GET + b"\r\n",
        [post(b"hi", (b"content-length", b"2")), get()],
    ),
    ("a body behind a request", GET + b"\r\n" + POST_CHUNKED + b"2\r\nhi\r\n0\r\n\r\n", [get(), post(b"hi", CHUNKED)]),
    # Other protocols: RFC 9110 §7.8
    (
        "an upgrade to what is not served is no upgrade",
        GET + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n" + GET + b"\r\n",
        [get(b"/", (b"connection", b"upgrade"), (b"upgrade", b"h2c")), get()],
    ),
    (
        "a body of a request that asks for an upgrade",
        POST + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello" + GET + b"\r\n",
        [post(b"hello", (b"connection", b"upgrade"), (b"upgrade", b"h2c"), (b"content-length", b"5")), get()],
    ),
    (
        "a chunked body of a request that asks for an upgrade",
        POST
        + b"Connection: upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: 1\r\n\r\n"
        + GET
        + b"\r\n",
        [post(b"abc", (b"connection", b"upgrade"), (b"upgrade", b"h2c"), CHUNKED), get()],
    ),
    (
        "a WebSocket where none is served",
        GET + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        [get(b"/", (b"connection", b"upgrade"), (b"upgrade", b"websocket"))],
    ),
    ("Upgrade that Connection does not name", GET + b"Upgrade: h2c\r\n\r\n", [get(b"/", (b"upgrade", b"h2c"))]),
]


@pytest.mark.parametrize(("data", "seen"), [pytest.param(data, seen, id=name) for name, data, seen in SERVED])
def test_served(loop: Loop, data: bytes, seen: list[Seen]) -> None:
    assert run(loop, data) == Outcome(seen, OK * len(seen), "open")


LAST: list[tuple[str, bytes, Seen]] = [
    ("Connection: close (RFC 9112 §9.6)", GET + b"Connection: close\r\n\r\n", get(b"/", (b"connection", b"close"))),
    (
        "close among other options and in capitals",
        GET + b"Connection: x, CLOSE\r\n\r\n",
        get(b"/", (b"connection", b"x, CLOSE")),
    ),
    (
        "close in the second Connection field",
        GET + b"Connection: x\r\nConnection: close\r\n\r\n",
        get(b"/", (b"connection", b"x"), (b"connection", b"close")),
    ),
    (
        "what comes behind a last request is not looked at",
        GET + b"Connection: close\r\n\r\n" + GET + b"\r\n",
        get(b"/", (b"connection", b"close")),
    ),
    (
        "close with an upgrade to what is not served",
        GET + b"Connection: close, upgrade\r\nUpgrade: h2c\r\n\r\n",
        get(b"/", (b"connection", b"close, upgrade"), (b"upgrade", b"h2c")),
    ),
    ("HTTP/1.0", b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", Seen("GET", b"/", HOST, version="1.0")),
    ("HTTP/1.0 without a Host", b"GET /x HTTP/1.0\r\n\r\n", Seen("GET", b"/x", [], version="1.0")),
    (
        "HTTP/1.0 with an absolute target",
        b"GET http://b/x HTTP/1.0\r\n\r\n",
        Seen("GET", b"/x", [(b"host", b"b")], version="1.0"),
    ),
    (
        "HTTP/1.0 that wants to stay",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        Seen("GET", b"/", [(b"connection", b"keep-alive")], version="1.0"),
    ),
    (
        "HTTP/1.0 with a body",
        b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi",
        Seen("POST", b"/", [(b"content-length", b"2")], b"hi", "1.0"),
    ),
    (
        "HTTP/1.0 does not know 100 (RFC 9110 §10.1.1)",
        b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
        Seen("POST", b"/", [(b"expect", b"100-continue"), (b"content-length", b"2")], b"hi", "1.0"),
    ),
    (
        "HTTP/1.0 cannot upgrade (RFC 9110 §7.8)",
        b"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        Seen("GET", b"/", [(b"connection", b"upgrade"), (b"upgrade", b"websocket")], version="1.0"),
    ),
]


@pytest.mark.parametrize(("data", "seen"), [pytest.param(data, seen, id=name) for name, data, seen in LAST])
def test_served_as_the_last(loop: Loop, data: bytes, seen: Seen) -> None:
    assert run(loop, data) == Outcome([seen], OK_CLOSE, "closed")


REFUSED: list[tuple[str, bytes, int]] = [
    # Request lines: RFC 9112 §3
    ("no request at all", b"hello\r\n\r\n", 400),
    ("the beginning of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ("almost the beginning of HTTP/2 (RFC 9113 §3.4)", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r", 400),
    ("a method in small letters", b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a blank before the method", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a tab behind the method", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a blank behind the version", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
    ("no target", b"GET  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a bare line feed behind the request line (§2.2)", b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    ("a bare carriage return behind the request line", b"GET / HTTP/1.1\rHost: a\r\n\r\n", 400),
    ("a version in small letters", b"GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    ("a version of more digits (§2.3)", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400),
    ("a version without a dot", b"GET / HTTP/11\r\nHost: a\r\n\r\n", 400),
    ("HTTP/1.2", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400),
    ("HTTP/2.0 (RFC 9110 §15.6.6)", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ("HTTP/0.9 by name", b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
    ("HTTP/0.9, without a version", b"GET /\r\n\r\n", 505),
    ("CONNECT (RFC 9110 §9.3.6)", b"CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n", 501),
    ("CONNECT to a path", b"CONNECT /b HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    # Targets: RFC 9112 §3.2
    *[
        (f"{what} in the target", b"GET /a" + byte + b"b HTTP/1.1\r\nHost: a\r\n\r\n", 400)
        for what, byte in (
            ("a blank", b" "),
            ("NUL", b"\0"),
            ("a tab", b"\t"),
            ("a line feed", b"\n"),
            ("a carriage return", b"\r"),
            ("DEL", b"\x7f"),
            ("a byte beyond ASCII", b"\xe9"),
            ("a number sign", b"#"),
            ("a quotation mark", b'"'),
            ("a less-than sign", b"<"),
            ("a greater-than sign", b">"),
            ("a backslash", b"\\"),
        )
    ],
    ("a backslash in the query", b"GET /?a\\b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a target that is neither a path nor a URL", b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a target that begins with its query", b"GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a URL of another scheme", b"GET ftp://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a URL without a host (RFC 9110 §4.2.1)", b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a URL of nothing but its scheme", b"GET http:// HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a URL with a port and no host", b"GET http://:80/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a URL with a user (RFC 9110 §4.2.4)", b"GET http://u:p@b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a URL with a port that is none", b"GET http://b:x/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("the asterisk for another method than OPTIONS (§3.2.4)", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("more than the asterisk", b"OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("the authority form for another method than CONNECT (§3.2.3)", b"GET b:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    # Hosts: RFC 9112 §3.2
    ("no Host", b"GET / HTTP/1.1\r\nX: 1\r\n\r\n", 400),
    ("no field at all", b"GET / HTTP/1.1\r\n\r\n", 400),
    ("no Host beside an absolute target", b"GET http://b/ HTTP/1.1\r\n\r\n", 400),
    ("two Hosts", GET + b"Host: b\r\n\r\n", 400),
    ("the same Host twice", GET + b"Host: a\r\n\r\n", 400),
    ("two Hosts beside an absolute target", b"GET http://b/ HTTP/1.1\r\nHost: b\r\nHost: b\r\n\r\n", 400),
    ("two Hosts in HTTP/1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    *[
        (f"Host {host}", f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), 400)
        for host in (
            "a b",
            "a, b",
            "a/b",
            "u@a",
            "a:b",
            "a:80:81",
            "::1",
            "[::1",
            "[g]",
            "a\\b",
            "a?b",
            "a#b",
            "<a>",
            'a"',
        )
    ],
    ("a Host beyond ASCII", b"GET / HTTP/1.1\r\nHost: \xe9\r\n\r\n", 400),
    ("a malformed Host that an absolute target would replace", b"GET http://b/ HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    # Fields: RFC 9112 §5
    ("a blank before the colon (§5.1)", GET + b"X : a\r\n\r\n", 400),
    ("a tab before the colon", GET + b"X\t: a\r\n\r\n", 400),
    ("a blank before the colon of Content-Length", POST + b"Content-Length : 5\r\n\r\nhello", 400),
    ("a blank before the colon of Transfer-Encoding", POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    ("a blank before the first field (§2.2)", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    ("a blank line of blanks", GET + b" \r\n\r\n", 400),
    ("a folded line (§5.2)", GET + b"X: a\r\n b\r\n\r\n", 400),
    ("a line folded with a tab", GET + b"X: a\r\n\tb\r\n\r\n", 400),
    ("a folded line that hides a length", POST + b"X: a\r\n Content-Length: 5\r\n\r\nhello", 400),
    ("a field without a colon", GET + b"X\r\n\r\n", 400),
    ("a field without a name", GET + b": a\r\n\r\n", 400),
    ("a bare line feed behind a field", GET + b"X: a\nY: b\r\n\r\n", 400),
    ("a bare line feed as the end of the head", GET + b"X: a\r\n\n", 400),
    ("a bare carriage return in a value", GET + b"X: a\rb\r\n\r\n", 400),
    ("two carriage returns behind a field", GET + b"X: a\r\r\n\r\n", 400),
    ("a bare carriage return as the end of the head", GET + b"X: a\r\n\rGET", 400),
    *[
        (f"byte {byte:#04x} in a value (RFC 9110 §5.5)", GET + b"X: a%cb\r\n\r\n" % byte, 400)
        for byte in (0x00, 0x01, 0x08, 0x0B, 0x0C, 0x1B, 0x1F, 0x7F)
    ],
    *[
        (f"byte {byte:#04x} in a name", GET + b"X%cY: a\r\n\r\n" % byte, 400)
        for byte in (0x00, 0x09, 0x20, 0x22, 0x28, 0x2C, 0x2F, 0x3B, 0x3D, 0x40, 0x5B, 0x7B, 0x7F, 0x80, 0xE9)
    ],
    # Framing: RFC 9112 §6
    ("two lengths (§6.3)", POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
    ("the same length twice", POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
    *[
        (f"Content-Length {value!r}", POST + b"Content-Length: " + value.encode() + b"\r\n\r\nhello", 400)
        for value in (
            "",
            "5, 5",
            "5,6",
            "+5",
            "-5",
            "0x5",
            "5 5",
            "5;",
            "5.0",
            "five",
            "٥",
            "1e1",
            "5\x0b",
            "\x0b5",
            "18446744073709551616",
            "99999999999999999999999999",
        )
    ],
    ("a length beside chunked (§6.1)", POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("chunked beside a length", POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    ("a length beside an unknown coding", POST + b"Transfer-Encoding: x\r\nContent-Length: 5\r\n\r\nhello", 400),
    ("chunked in HTTP/1.0 (§6.1)", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("chunked twice in one field (§6.1)", POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    ("chunked in two fields", POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (
        "a tab behind chunked, which the parser does not take",
        POST + b"Transfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("chunked that is not the last", POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
    ("an empty coding", POST + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n", 400),
    ("a vertical tab before chunked", POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    *[
        (f"the coding {value}", POST + b"Transfer-Encoding: " + value.encode() + b"\r\n\r\n0\r\n\r\n", 501)
        for value in (
            "gzip",
            "gzip, chunked",
            "identity",
            "xchunked",
            "chunkedx",
            "chunked;q=1",
            '"chunked"',
            "chun ked",
        )
    ],
    (
        "an unknown coding before chunked in a field of its own",
        POST + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        501,
    ),
    # Chunks: RFC 9112 §7.1
    *[
        (f"a chunk's size {size!r}", POST_CHUNKED + size.encode() + b"\r\nabc\r\n0\r\n\r\n", 400)
        for size in (
            "",
            "g",
            "0x3",
            "-3",
            "+3",
            " 3",
            "3 ",
            "3\t",
            "3 ;a",
            "3,3",
            "3;",
            "3;a b",
            "3;a\x00",
            "3;a\x0b",
            '3;a="',
            "10000000000000000",
            "fffffffffffffffff",
            "٣",
        )
    ],
    ("a bare line feed behind a size", POST_CHUNKED + b"3\nabc\r\n0\r\n\r\n", 400),
    ("a bare carriage return behind a size", POST_CHUNKED + b"3\rabc\r\n0\r\n\r\n", 400),
    ("a bare line feed in an extension", POST_CHUNKED + b"3;a\nbc\r\nabc\r\n0\r\n\r\n", 400),
    ("a bare line feed in a quoted extension", POST_CHUNKED + b'3;a="\n"\r\nabc\r\n0\r\n\r\n', 400),
    ("a chunk shorter than its data", POST_CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", 400),
    ("no line break behind a chunk's data", POST_CHUNKED + b"3\r\nabc0\r\n\r\n", 400),
    ("a bare line feed behind a chunk's data", POST_CHUNKED + b"3\r\nabc\n0\r\n\r\n", 400),
    ("a bare line feed behind the last chunk", POST_CHUNKED + b"0\n\r\n", 400),
    ("a bare line feed as the end of the trailers", POST_CHUNKED + b"0\r\n\n", 400),
    ("a trailer with a blank before its colon", POST_CHUNKED + b"0\r\nX : a\r\n\r\n", 400),
    ("a folded trailer", POST_CHUNKED + b"0\r\nX: a\r\n b\r\n\r\n", 400),
    ("a bare line feed behind a trailer", POST_CHUNKED + b"0\r\nX: a\nY: b\r\n\r\n", 400),
    ("NUL in a trailer", POST_CHUNKED + b"0\r\nX: a\0\r\n\r\n", 400),
    ("a length among the trailers", POST_CHUNKED + b"0\r\nContent-Length: 5\r\n\r\nhello", 400),
    ("a coding among the trailers", POST_CHUNKED + b"0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
]


@pytest.mark.parametrize(("data", "status"), [pytest.param(data, status, id=name) for name, data, status in REFUSED])
def test_refused(loop: Loop, data: bytes, status: int) -> None:
    result = run(loop, data)
    assert not result.seen
    assert result.state == "ending"
    head, _, body = result.answers.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nconnection: close" in head
    assert f"\r\ncontent-length: {len(body)}\r\n".encode() in head
    assert body.startswith(b"%d " % status)


def test_what_came_before_is_answered_before_a_refusal(loop: Loop) -> None:
    result = run(loop, GET + b"\r\n" + POST + b"Content-Length: 2\r\n\r\nhi" + b"bad\r\n\r\n" + GET + b"\r\n")
    assert [seen.method for seen in result.seen] == ["GET", "POST"]
    assert re.findall(rb"HTTP/1.1 (\d+)", result.answers) == [b"200", b"200", b"400"]
    assert result.state == "ending"


def test_what_came_before_is_answered_before_a_bad_body_of_a_later_request(loop: Loop) -> None:
    result = run(loop, GET + b"\r\n" + POST_CHUNKED + b"1\r\na\r\nx\r\n")
    assert [seen.method for seen in result.seen] == ["GET"]
    assert re.findall(rb"HTTP/1.1 (\d+)", result.answers) == [b"200", b"400"]


def test_nothing_is_taken_behind_a_refusal(loop: Loop) -> None:
    result = run(loop, b"bad\r\n\r\n" + GET + b"\r\n")
    assert not result.seen
    assert re.findall(rb"HTTP/1.1 (\d+)", result.answers) == [b"400"]


def test_a_refused_head_request_gets_no_body(loop: Loop) -> None:
    result = run(loop, b"HEAD / HTTP/1.1\r\n\r\n")
    assert result.status == 400
    assert result.answers.endswith(b"\r\n\r\n")
    assert result.answers.count(b"\r\n\r\n") == 1


PARTIAL = [
    ("nothing", b""),
    ("an empty line", b"\r\n"),
    ("a part of the method", b"GE"),
    ("a part of the target", b"GET /a"),
    ("a request line", b"GET / HTTP/1.1\r\n"),
    ("a field's name", b"GET / HTTP/1.1\r\nHo"),
    ("a whole field", b"GET / HTTP/1.1\r\nHost: a\r\n"),
    ("a head without the last byte", b"GET / HTTP/1.1\r\nHost: a\r\n\r"),
    ("a body without the last byte", POST + b"Content-Length: 5\r\n\r\nhell"),
    ("a chunk without its end", POST_CHUNKED + b"5\r\nhello\r"),
    ("the last chunk without the end of the trailers", POST_CHUNKED + b"0\r\nX: 1\r\n\r"),
]


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in PARTIAL])
def test_a_part_is_waited_for(loop: Loop, data: bytes) -> None:
    if data:
        assert run(loop, data) == Outcome([], b"", "open")


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in PARTIAL])
def test_a_part_that_ends_is_no_request(loop: Loop, data: bytes) -> None:
    app = Recorder()
    wire = Server(loop, app).connect()
    wire.feed(data)
    wire.feed_eof()
    assert (app.seen, wire.output, wire.state) == ([], b"", "closed")
