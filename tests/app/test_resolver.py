"""Host names of backends, with a name server that the test plays."""

import asyncio
import logging
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.upstream.resolver import Resolver
from routes.graph.nodes import Address, DNSName

NAME = DNSName("whoami", 80)
FIRST, SECOND = Address("10.0.0.1", 80), Address("10.0.0.2", 80)
GONE = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
TROUBLE = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


class NameServer:
    """Gives each of ``answers`` once, and the last of them from then on: host addresses, or an error to raise."""

    def __init__(self, *answers: tuple[str, ...] | Exception) -> None:
        self.asked: list[str] = []
        self._answers = list(answers)

    def __call__(self, host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answer]


def with_resolver(
    server: Callable[..., Any], use: Callable[[Resolver], Awaitable[None]], refresh: float = 60.0
) -> None:
    """Run ``use`` with a resolver that watches NAME."""

    async def main() -> None:
        resolver = Resolver(refresh, server)
        try:
            resolver.watch([NAME])
            await use(resolver)
        finally:
            resolver.close()

    asyncio.run(main())


async def until(resolver: Resolver, addresses: tuple[Address, ...]) -> None:
    async with asyncio.timeout(5):
        while await resolver.addresses(NAME) != addresses:
            await asyncio.sleep(0.001)


def test_a_watched_name_has_the_addresses_that_the_name_server_gives() -> None:
    async def use(resolver: Resolver) -> None:
        assert await resolver.addresses(NAME) == (FIRST, SECOND)

    with_resolver(NameServer(("10.0.0.2", "10.0.0.1", "10.0.0.2")), use)


def test_a_name_that_nobody_watches_has_no_addresses() -> None:
    async def use(resolver: Resolver) -> None:
        assert await resolver.addresses(DNSName("other", 80)) == ()

    with_resolver(NameServer(("10.0.0.1",)), use)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]"])
def test_a_literal_address_is_never_looked_up(host: str) -> None:
    server = NameServer(GONE)
    name = DNSName(host, 8080)

    async def use(resolver: Resolver) -> None:
        resolver.watch([name])
        assert await resolver.addresses(name) == (Address(host.strip("[]"), 8080),)

    with_resolver(server, use)
    assert host not in server.asked


def test_a_name_is_looked_up_again_after_the_time_that_was_set() -> None:
    async def use(resolver: Resolver) -> None:
        assert await resolver.addresses(NAME) == (FIRST,)
        await until(resolver, (SECOND,))

    with_resolver(NameServer(("10.0.0.1",), ("10.0.0.2",)), use, refresh=0.01)


def test_a_name_that_is_gone_has_no_addresses_until_it_is_back() -> None:
    async def use(resolver: Resolver) -> None:
        assert await resolver.addresses(NAME) == (FIRST,)
        await until(resolver, ())
        await until(resolver, (SECOND,))

    with_resolver(NameServer(("10.0.0.1",), GONE, ("10.0.0.2",)), use, refresh=0.01)


def test_while_the_name_server_fails_the_last_answer_stays() -> None:
    server = NameServer(("10.0.0.1",), TROUBLE)

    async def use(resolver: Resolver) -> None:
        async with asyncio.timeout(5):
            while len(server.asked) < 5:
                assert await resolver.addresses(NAME) == (FIRST,)
                await asyncio.sleep(0.001)

    with_resolver(server, use, refresh=0.01)


@pytest.mark.parametrize("error", [GONE, TROUBLE, OSError("no network"), UnicodeError("label too long")])
def test_a_name_without_a_first_answer_has_no_addresses_and_a_warning(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def use(resolver: Resolver) -> None:
        async with asyncio.timeout(5):
            assert await resolver.addresses(NAME) == ()

    with_resolver(NameServer(error), use)
    reason = getattr(error, "strerror", None) or str(error)
    assert caplog.messages == [f"whoami: {reason}; it is tried again every 60 s"]


def test_an_answer_that_brings_nothing_new_changes_nothing() -> None:
    server = NameServer(("10.0.0.1", "10.0.0.2"), ("10.0.0.2", "10.0.0.1"))

    async def use(resolver: Resolver) -> None:
        first = await resolver.addresses(NAME)
        async with asyncio.timeout(5):
            while len(server.asked) < 5:
                assert await resolver.addresses(NAME) is first
                await asyncio.sleep(0.001)

    with_resolver(server, use, refresh=0.01)


def test_addresses_of_both_families_are_found() -> None:
    async def use(resolver: Resolver) -> None:
        assert await resolver.addresses(NAME) == (FIRST, Address("2001:db8::1", 80))

    with_resolver(NameServer(("2001:db8::1", "10.0.0.1")), use)


def test_a_name_server_that_recovers_is_followed_again() -> None:
    async def use(resolver: Resolver) -> None:
        await until(resolver, (FIRST,))
        await until(resolver, (SECOND,))

    with_resolver(NameServer(("10.0.0.1",), TROUBLE, TROUBLE, ("10.0.0.2",)), use, refresh=0.01)


def test_a_name_that_stays_gone_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    server = NameServer(GONE)

    async def use(resolver: Resolver) -> None:
        async with asyncio.timeout(5):
            while len(server.asked) < 5:
                await asyncio.sleep(0.001)

    with_resolver(server, use, refresh=0.001)
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


def test_whoever_asks_before_the_first_answer_waits_for_it() -> None:
    release = threading.Event()

    def server(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        release.wait(5)
        return NameServer(("10.0.0.1",))(host, port)

    async def use(resolver: Resolver) -> None:
        asked = asyncio.create_task(resolver.addresses(NAME))
        await resolver.ready(0.01)
        assert not asked.done()
        release.set()
        assert await asked == (FIRST,)

    with_resolver(server, use)


def test_whoever_waits_for_a_name_that_is_forgotten_is_told_that_there_is_nothing() -> None:
    release = threading.Event()

    def server(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        release.wait(5)
        raise GONE

    async def use(resolver: Resolver) -> None:
        asked = asyncio.create_task(resolver.addresses(NAME))
        await asyncio.sleep(0)
        resolver.watch([])
        async with asyncio.timeout(5):
            assert await asked == ()
        release.set()

    with_resolver(server, use)


def test_a_name_that_is_still_watched_is_not_asked_for_anew() -> None:
    server = NameServer(("10.0.0.1",))

    async def use(resolver: Resolver) -> None:
        await resolver.ready(5)
        resolver.watch([NAME, DNSName("other", 80)])
        await resolver.ready(5)

    with_resolver(server, use)
    assert sorted(server.asked) == ["other", "whoami"]
