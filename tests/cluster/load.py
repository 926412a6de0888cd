"""A steady load on one address, which counts every request that is not answered 200: ``python load.py URL HOST``.

Runs until its standard input ends, and then prints ``{"answered": …, "failures": […]}``. Nothing is tried again: a
request that fails once has failed. Needs nothing but Python, since it runs where the cluster is.
"""

import asyncio
import json
import sys
from urllib.parse import urlsplit

#: Clients at a time, seconds between two requests of each, and after how many of them it connects anew.
CLIENTS, PAUSE, REQUESTS_PER_CONNECTION = 8, 0.02, 25
#: Seconds after which a request has failed.
PATIENCE = 10.0


class Load:
    """What came of the requests to a host at an address."""

    def __init__(self, url: str, host: str) -> None:
        parts = urlsplit(url)
        self.address, self.port = parts.hostname or "", parts.port or 80
        self.request = f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        self.answered = 0
        self.failures: list[str] = []
        self.ending = False

    async def client(self) -> None:
        """One client after another, each on a connection of its own."""
        while not self.ending:
            done = 0
            try:
                async with asyncio.timeout(PATIENCE):
                    reader, writer = await asyncio.open_connection(self.address, self.port)
                try:
                    while done < REQUESTS_PER_CONNECTION and not self.ending:
                        async with asyncio.timeout(PATIENCE):
                            stays = await self._ask(reader, writer)
                        done += 1
                        if not stays:
                            break
                        await asyncio.sleep(PAUSE)
                finally:
                    writer.close()
            except (OSError, EOFError, TimeoutError, ValueError) as error:
                self.failures.append(f"after {done} requests on a connection: {type(error).__name__} {error}")
                await asyncio.sleep(PAUSE)

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection stays open after the answer."""
        writer.write(self.request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status, *lines = head.split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines if ": " in line)
        await reader.readexactly(int(fields["content-length"]))
        if status.split()[1] == "200":
            self.answered += 1
        else:
            self.failures.append(status)
        return fields.get("connection") != "close"


async def main(url: str, host: str) -> None:
    """Load until standard input ends."""
    load = Load(url, host)
    clients = [asyncio.create_task(load.client()) for _ in range(CLIENTS)]
    await asyncio.to_thread(sys.stdin.read)
    load.ending = True
    await asyncio.gather(*clients)
    print(json.dumps({"answered": load.answered, "failures": load.failures[:20]}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
