"""Both roles against the library h2, in random sequences, and against bytes that nobody would think of."""

from collections.abc import Sequence
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
from hypothesis import given, settings
from hypothesis import strategies as st

from app.http2.compression import FieldDecoder, encode
from tests.wire.http2 import NO_SETTINGS, PREFACE, Peer, client, result, server
from tests.wire.test_http2_client import ANSWERS, asked
from tests.wire.test_http2_server import BROKEN, FATAL, MALFORMED, SERVED
from tests.wire.test_random import mutated

NAMES = st.sampled_from([b"x", b"accept", b"etag", b"cache-control", b"x-long-name-of-a-field", b"authorization"])
VALUES = st.binary(max_size=300).map(lambda value: bytes(0x21 + byte % 0x5E for byte in value))
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=6)
BODIES = st.lists(st.integers(0, 90_000), max_size=4)
#: A request and its response: fields and bodies of both, and how many pieces of bytes go at once.
EXCHANGES = st.lists(st.tuples(FIELDS, BODIES, FIELDS, BODIES), min_size=1, max_size=5)


class Oracle:
    """h2 at the other end of a connection of ours. It reads everything at once, and gives back what it has read."""

    def __init__(self, peer: Peer, *, client_side: bool, window: int) -> None:
        self.peer = peer
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=client_side, header_encoding=None))
        self.h2.initiate_connection()
        self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.heads: dict[int, list[tuple[bytes, bytes]]] = {}
        self.bodies: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.queues: dict[int, list[bytes]] = {}
        self.take(peer.greeting)

    def take(self, data: bytes) -> None:
        for event in self.h2.receive_data(data) if data else ():
            if isinstance(event, h2.events.RequestReceived | h2.events.ResponseReceived):
                self.heads[event.stream_id] = [(bytes(name), bytes(value)) for name, value in event.headers]
            elif isinstance(event, h2.events.DataReceived):
                self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
                if event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self.ended.add(event.stream_id)
            else:
                assert not isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated), event

    def send(self, stream: int, pieces: list[bytes]) -> None:
        self.queues[stream] = pieces

    def pump(self) -> bool:
        """Bytes both ways, as far as windows allow. Answers whether anything moved."""
        for stream, pieces in self.queues.items():
            while pieces:
                size = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(pieces[0]))
                if size == 0 and pieces[0]:
                    break
                self.h2.send_data(stream, pieces[0][:size], end_stream=len(pieces) == 1 and size == len(pieces[0]))
                pieces[0] = pieces[0][size:]
                if not pieces[0]:
                    pieces.pop(0)
        out, back = self.h2.data_to_send(), b""
        if out:
            self.peer.feed(out)
        back = self.peer.output()
        self.take(back)
        assert self.peer.failure is None, self.peer.failure
        return bool(out or back)


class Ours:
    """Our end: it consumes what it gets, and sends bodies as windows allow."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.bodies: dict[int, bytes] = {}
        self.heads: dict[int, Any] = {}
        self.ended: set[int] = set()
        self.queues: dict[Any, list[bytes]] = {}
        heard = peer.heard
        heard.on_data = self._on_data  # type: ignore[method-assign]
        heard.on_window = lambda stream: None  # type: ignore[method-assign]

    def _on_data(self, stream: Any, data: bytes) -> None:
        self.bodies[stream.id] = self.bodies.get(stream.id, b"") + data
        self.peer.connection.consumed(stream, len(data))

    def pump(self) -> None:
        connection = self.peer.connection
        for stream, pieces in self.queues.items():
            while pieces:
                size = min(connection.room(stream), len(pieces[0]))
                if size <= 0 and pieces[0]:
                    connection.wait(stream)
                    break
                end = len(pieces) == 1 and size == len(pieces[0])
                connection.send_data(stream, pieces[0][:size], end=end)
                pieces[0] = pieces[0][size:]
                if not pieces[0]:
                    pieces.pop(0)


def made(sizes: list[int]) -> list[bytes]:
    return [bytes([index % 251]) * size for index, size in enumerate(sizes)] or [b""]


@settings(max_examples=60, deadline=None)
@given(exchanges=EXCHANGES, window=st.sampled_from([1, 1000, 65535, 1 << 20]))
def test_a_server_of_ours_and_a_client_of_h2(exchanges: list[Any], window: int) -> None:
    peer = server(b"")
    theirs, ours = Oracle(peer, client_side=True, window=max(window, 1000)), Ours(peer)
    pseudo = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")]
    for index, (fields, sizes, _, _) in enumerate(exchanges):
        theirs.h2.send_headers(1 + 2 * index, pseudo + fields)
        theirs.send(1 + 2 * index, made(sizes))
    started: set[int] = set()
    moved = True
    while moved:
        moved = theirs.pump()
        for index, (_, _, fields, sizes) in enumerate(exchanges):
            stream = peer.heard.streams.get(1 + 2 * index)
            if stream is not None and stream.id not in started:
                started.add(stream.id)
                peer.connection.send_head(stream, 200, fields)
                ours.queues[stream] = made(sizes)
        ours.pump()
    told = {told[0]: told for told in peer.told if told != "settings" and told[1] == "POST"}
    for index, (wanted, up, answered, down) in enumerate(exchanges):
        number = 1 + 2 * index
        assert told[number][3] == wanted
        assert ours.bodies.get(number, b"") == b"".join(made(up))
        assert theirs.heads[number] == [(b":status", b"200"), *answered]
        assert theirs.bodies.get(number, b"") == b"".join(made(down))
        assert number in theirs.ended
    assert not peer.connection.streams


@settings(max_examples=60, deadline=None)
@given(exchanges=EXCHANGES, window=st.sampled_from([1000, 65535, 1 << 20]))
def test_a_client_of_ours_and_a_server_of_h2(exchanges: list[Any], window: int) -> None:
    peer = client(b"")
    theirs, ours = Oracle(peer, client_side=False, window=window), Ours(peer)
    for fields, sizes, _, _ in exchanges:
        stream = peer.connection.send_request(b"POST", b"http", b"a", b"/", fields)
        ours.queues[stream] = made(sizes)
    theirs.take(peer.output())
    started: set[int] = set()
    moved = True
    while moved:
        for stream in theirs.heads.keys() - started:
            started.add(stream)
            _, _, fields, sizes = exchanges[stream // 2]
            theirs.h2.send_headers(stream, [(b":status", b"200"), *fields])
            theirs.send(stream, made(sizes))
        ours.pump()
        moved = theirs.pump()
    told = {told[0]: told for told in peer.told if told != "settings" and told[1] == 200}
    for index, (wanted, up, answered, down) in enumerate(exchanges):
        number = 1 + 2 * index
        assert theirs.heads[number][4:] == wanted
        assert theirs.bodies.get(number, b"") == b"".join(made(up))
        assert told[number][2] == answered
        assert ours.bodies.get(number, b"") == b"".join(made(down))
    assert not peer.connection.streams


@settings(deadline=None)
@given(lists=st.lists(FIELDS, max_size=8), sizes=st.lists(st.integers(0, 4096), min_size=8, max_size=8))
def test_header_blocks_of_the_library_read_the_same(lists: list[Any], sizes: list[int]) -> None:
    """The library hpack uses the dynamic table, its changes of size, and Huffman code, of which ours writes nothing."""
    from hpack import Encoder

    theirs, ours = Encoder(), FieldDecoder(1 << 20)
    for fields, size in zip(lists, sizes, strict=False):
        theirs.header_table_size = size
        assert ours.decode(theirs.encode(fields)) == fields


@settings(deadline=None)
@given(fields=FIELDS)
def test_the_library_reads_our_header_blocks(fields: list[tuple[bytes, bytes]]) -> None:
    from hpack import Decoder

    decoded = Decoder().decode(encode(fields), raw=True)
    assert [tuple(field) for field in decoded] == fields


SEEDS = [case[1] for case in (*SERVED, *FATAL, *BROKEN)] + [sent for _, sent in MALFORMED]


def cut_at(data: bytes, places: Sequence[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    return [data[first:last] for first, last in zip([0, *ends], ends, strict=False)]


@settings(max_examples=300, deadline=None)
@given(sent=mutated(SEEDS), places=st.lists(st.integers(0, 500), max_size=6))
def test_whatever_a_client_sends(sent: bytes, places: list[int]) -> None:
    whole = result(server(), [sent])
    assert result(server(), cut_at(sent, places)) == whole


@settings(max_examples=100, deadline=None)
@given(sent=mutated([PREFACE + NO_SETTINGS]), places=st.lists(st.integers(0, 50), max_size=3))
def test_however_a_client_begins(sent: bytes, places: list[int]) -> None:
    assert result(server(b""), cut_at(sent, places)) == result(server(b""), [sent])


@settings(max_examples=300, deadline=None)
@given(sent=mutated([case[1] for case in ANSWERS]), places=st.lists(st.integers(0, 500), max_size=6))
def test_whatever_a_server_sends(sent: bytes, places: list[int]) -> None:
    assert result(asked(), cut_at(sent, places)) == result(asked(), [sent])
