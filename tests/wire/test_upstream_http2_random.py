"""Random exchanges with a backend made of the library h2: what is sent arrives, both ways, however it is cut."""

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx2
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, TrailersReceived
from h2.settings import SettingCodes
from hypothesis import given, settings
from hypothesis import strategies as st

from app.upstream.fields import Fields
from tests.wire.harness import Loop, Wire
from tests.wire.test_upstream import exchange_of, sized, whole
from tests.wire.test_upstream_http2 import Http2Client


@dataclass
class Told:
    """One request, and what is answered to it."""

    body: bytes
    answer: bytes
    trailers: Fields
    pieces: int
    known_length: bool
    #: Whether the client takes the answer as it comes, or only in the end.
    reads: bool
    got: bytes = b""
    ended: bool = False
    sent: int = 0


requests = st.builds(
    Told,
    body=st.integers(0, 100_000).map(lambda size: bytes(range(251)) * (size // 251)),
    answer=st.integers(0, 400_000).map(lambda size: bytes(range(241)) * (size // 241)),
    trailers=st.lists(st.just((b"x-sum", b"1")), max_size=1),
    pieces=st.integers(1, 5),
    known_length=st.booleans(),
    reads=st.booleans(),
)


@dataclass
class Peer:
    """The backend on one connection: answers what was asked of it as the windows let it."""

    wire: Wire
    told: dict[bytes, Told]
    window: int
    streams: int
    random: Random
    by_stream: dict[int, Told] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.h2.initiate_connection()
        self.h2.update_settings(
            {SettingCodes.INITIAL_WINDOW_SIZE: self.window, SettingCodes.MAX_CONCURRENT_STREAMS: self.streams}
        )

    def turn(self) -> bool:
        """Take what has come and send what may be sent; whether there was anything."""
        new = b"".join(self.wire.written)
        self.wire.written.clear()
        for event in self.h2.receive_data(new) if new else ():
            if isinstance(event, RequestReceived):
                self.by_stream[event.stream_id] = self.told[dict(event.headers)[b":path"]]
            elif isinstance(event, DataReceived):
                self.by_stream[event.stream_id].got += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, TrailersReceived):
                raise AssertionError("nobody sent trailers")
            elif isinstance(event, StreamEnded):
                self.by_stream[event.stream_id].ended = True
        for stream in self.random.sample(sorted(self.by_stream), len(self.by_stream)):
            self._answer(stream, self.by_stream[stream])
        data = self.h2.data_to_send()
        moved = bool(new or data)
        while data:
            size = self.random.choice((9, 1000, 10_000, len(data), len(data)))
            self.wire.feed(data[:size])
            data = data[size:]
        return moved

    def _answer(self, stream: int, told: Told) -> None:
        if not told.ended:
            return
        if not told.sent:
            self.h2.send_headers(stream, [(b":status", b"200")])
        while told.sent < len(told.answer):
            room = min(self.h2.local_flow_control_window(stream), 16_384, len(told.answer) - told.sent)
            if room <= 0:
                told.sent = told.sent or -1
                return
            start = max(told.sent, 0)
            self.h2.send_data(stream, told.answer[start : start + room])
            told.sent = start + room
        if told.trailers:
            self.h2.send_headers(stream, told.trailers, end_stream=True)
        else:
            self.h2.end_stream(stream)
        del self.by_stream[stream]


@settings(max_examples=30, deadline=None)
@given(
    told=st.lists(requests, min_size=1, max_size=6),
    window=st.sampled_from((65_535, 100_000, 2**20)),  # h2 does not get over one that shrinks
    streams=st.integers(1, 6),
    seed=st.integers(0, 2**32),
)
def test_what_is_sent_arrives(told: list[Told], window: int, streams: int, seed: int) -> None:
    loop = Loop()
    try:
        _exchange(loop, told, window, streams, Random(seed))
    except BaseException:
        loop.end()
        raise
    loop.finish()


def _exchange(loop: Loop, told: list[Told], window: int, streams: int, random: Random) -> None:
    client = Http2Client(loop)
    by_path = {b"/%d" % number: each for number, each in enumerate(told)}
    tasks = [client.ask("POST", *_body(each), target=path) for path, each in by_path.items()]
    peers: list[Peer] = []
    reading: dict[int, asyncio.Task[bytes]] = {}
    while True:
        peers += [Peer(wire, by_path, window, streams, random) for wire in loop.wires[len(peers) :]]
        for number, task in enumerate(tasks):
            if task.done() and number not in reading and (told[number].reads or random.random() < 0.2):
                reading[number] = loop.create_task(whole(exchange_of(task)))
        loop.settle()
        moved = [peer.turn() for peer in peers]
        if not any(moved) and len(reading) == sum(task.done() for task in tasks):
            break
    for number, each in enumerate(told):
        assert each.got == each.body
        assert reading[number].result() == each.answer
        assert exchange_of(tasks[number]).trailers == each.trailers


def _body(told: Told) -> tuple[Fields, httpx2.AsyncByteStream | None]:
    if not told.body:
        return sized(0), None
    size = -(-len(told.body) // told.pieces)
    source = _Pieces([told.body[start : start + size] for start in range(0, len(told.body), size)])
    fields = sized(len(told.body)) if told.known_length else [(b"host", b"a"), (b"transfer-encoding", b"chunked")]
    return fields, source


class _Pieces(httpx2.AsyncByteStream):
    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> Any:
        for piece in self._pieces:
            yield piece
