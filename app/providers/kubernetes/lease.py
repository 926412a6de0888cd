"""Who of the gateway's replicas writes: the holder of a Lease, chosen as client-go's leader election does.

Times are the replica's own: what another wrote counts from when we saw it, whatever its clock says. A holder that
cannot renew stops before others may take over, so that there is never more than one.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from app.providers.kubernetes.api import Api, ApiError

_log = logging.getLogger(__name__)

#: Seconds for which a Lease is good when it is not renewed: others take over then.
_DURATION: Final = 15
#: Seconds after its last renewal at which the holder stops. The difference is for clocks that do not run alike.
_DEADLINE: Final = 10.0
#: Seconds between renewals, and between looks of those who wait; at least and at most.
_RENEW: Final = (2.0, 4.0)
_LOOK: Final = (1.0, 2.0)
#: Seconds that giving the Lease back may take.
_RELEASE: Final = 3.0


class Lease:
    """The Lease ``name`` in our own namespace, of which ``identity`` is to be the holder.

    ``on_change`` is called with True when we become its holder and with False when we are it no longer.
    """

    def __init__(
        self, api: Api, name: str, identity: str, on_change: Callable[[bool], None] = lambda held: None
    ) -> None:
        self.on_change = on_change
        self._api = api
        self._name = name
        self._identity = identity
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{api.namespace}/leases"
        self._loop: asyncio.AbstractEventLoop | None = None
        # The mutable state: the Lease as last seen, when it became so, and until when we may act as its holder.
        self._seen: dict[str, Any] = {}
        self._seen_at = 0.0
        self._leading = False
        self._until = 0.0
        self._trouble: tuple[int, str] | None = None

    @property
    def held(self) -> bool:
        """Whether we are the holder; ask before each write. Not after ten seconds without renewal, even if nothing else
        could happen in that time."""
        return self._leading and self._loop is not None and self._loop.time() < self._until

    async def run(self) -> None:
        """Take the Lease whenever it is free, and renew it; until cancelled, when it is given back so that another
        can take it at once. Errors are logged, once each, and it is tried again."""
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                pause = await self._try(self._loop)
                await asyncio.sleep(pause)
                if self._leading and not self.held:
                    self._lead(False)
        finally:
            await self._release()

    async def _try(self, loop: asyncio.AbstractEventLoop) -> float:
        """Take or renew it; the seconds until that is to be tried again."""
        pause = random.uniform(*(_RENEW if self._leading else _LOOK))  # noqa: S311
        try:
            async with asyncio.timeout_at(self._until if self._leading else loop.time() + _DEADLINE):
                await self._take(loop)
        except TimeoutError:
            self._troubled(0, "Timeout", "no answer in time")
        except ApiError as error:
            if error.status != 409:  # another was faster
                self._troubled(error.status, error.reason, error.message)
            pause = max(random.uniform(*_LOOK), min(error.retry_after, _DEADLINE))  # noqa: S311
        else:
            if self._trouble is not None:
                _log.info("the Lease %s can be had again", self._name)
            self._trouble = None
        return min(pause, max(self._until - loop.time(), 0.0)) if self._leading else pause

    async def _take(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._leading:
            try:
                await self._hold(loop)
            except ApiError as error:
                if error.status not in (404, 409):  # which means that it is another than we know
                    raise
            else:
                return
        await self._look(loop)
        spec = self._seen.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if holder not in ("", self._identity):
            self._lead(False)
            if loop.time() < self._seen_at + (spec.get("leaseDurationSeconds") or _DURATION):
                return
        await self._hold(loop)

    async def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """See what the Lease is now; {} where there is none."""
        try:
            found = dict(await self._api.get(f"{self._collection}/{self._name}"))
        except ApiError as error:
            if error.status != 404:
                raise
            found = {}
        if found.get("spec") != self._seen.get("spec"):
            self._seen_at = loop.time()
        self._seen = found

    async def _hold(self, loop: asyncio.AbstractEventLoop) -> None:
        """Write ourselves into it, over what we have seen."""
        begun = loop.time()
        spec = self._seen.get("spec") or {}
        ours = spec.get("holderIdentity") == self._identity
        now = _now()
        wanted = {
            **spec,
            "holderIdentity": self._identity,
            "leaseDurationSeconds": _DURATION,
            "acquireTime": spec.get("acquireTime") or now if ours else now,
            "renewTime": now,
            "leaseTransitions": (spec.get("leaseTransitions") or 0) + (bool(self._seen) and not ours),
        }
        await self._write(wanted)
        self._seen_at = begun
        self._until = begun + _DEADLINE  # from before the request: others count from when they see its effect
        self._lead(True)

    async def _write(self, spec: dict[str, Any]) -> None:
        if self._seen:
            body = {**self._seen, "spec": spec}
            self._seen = dict(await self._api.replace(f"{self._collection}/{self._name}", body))
        else:
            body = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self._name, "namespace": self._api.namespace},
                "spec": spec,
            }
            self._seen = dict(await self._api.create(self._collection, body))

    async def _release(self) -> None:
        if not self._leading:
            return
        self._lead(False)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_RELEASE):
                await self._look(loop)  # our last renewal may have been cut short, on either side of its effect
                spec = self._seen.get("spec") or {}
                if spec.get("holderIdentity") == self._identity:
                    await self._write({**spec, "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()})
        except (ApiError, TimeoutError) as error:
            _log.info("the Lease %s was not given back and will expire: %s", self._name, error or "no answer in time")

    def _lead(self, leading: bool) -> None:
        if leading != self._leading:
            self._leading = leading
            _log.info("the Lease %s is %s", self._name, "ours" if leading else "no longer ours")
            self.on_change(leading)

    def _troubled(self, status: int, reason: str, message: str) -> None:
        if self._trouble != (status, reason):
            self._trouble = status, reason
            _log.warning("the Lease %s cannot be held: %s; trying again", self._name, message)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
