"""Who observes the requests of a gateway, as its settings ask: the counter, the access log, tracing."""

import os
from typing import TYPE_CHECKING, Final

from starlette.types import ASGIApp

from app.observability.counting import Counter
from app.observability.logs import AccessLines, access_log
from app.settings import Settings
from middleware.observe import ObserveMiddleware, Observer

if TYPE_CHECKING:
    from app.observability.tracing import Tracing

#: Seconds in which the collector has to take the last spans.
_FLUSH: Final = 5.0


class UnavailableError(Exception):
    """The settings name what cannot be had; the message says which and why."""


class Observers:
    """Those of one gateway. ``counter`` counts its requests, ``tracing`` tells of its spans, if they are to."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.counter = Counter(settings.metrics_buckets) if settings.metrics else None
        self.tracing: Tracing | None = None
        # Where the access log goes, to the end of a server's run.
        self._lines: AccessLines | None = None

    def prepare(self) -> None:
        """Have at hand what they need; what is there stays. Raises UnavailableError."""
        settings = self._settings
        if settings.access_log != "off" and self._lines is None:
            try:
                self._lines = AccessLines(settings.access_log_file)
            except OSError as error:
                raise UnavailableError(
                    f"MOONGATE_ACCESS_LOG_FILE: {settings.access_log_file} cannot be opened: {error.strerror}"
                ) from None
        if settings.tracing != "off" and self.tracing is None:
            self.tracing = _load_tracing()

    def around(self, app: ASGIApp) -> ObserveMiddleware | None:
        """``app`` with all of them around it; None where nobody observes. They are prepared."""
        observers: list[Observer] = [] if self.counter is None else [self.counter]
        if self._settings.access_log != "off":
            observers.append(access_log(self._settings, self._log))
        if self.tracing is not None:
            observers.append(self.tracing)
        return ObserveMiddleware(app, observers) if observers else None

    @property
    def more_than_count(self) -> bool:
        """Whether there are any who have to see requests that are forwarded on the spot, which are counted without."""
        return self._settings.access_log != "off" or self.tracing is not None

    def reopen(self) -> None:
        """Go on in the file that has the access log's path now."""
        if self._lines is not None:
            self._lines.reopen()

    async def flush(self) -> None:
        """Have the last spans sent."""
        if self.tracing is not None:
            await self.tracing.flush(_FLUSH)

    def close(self) -> None:
        """Write the last lines. Blocks. What observes later begins anew."""
        lines, self._lines = self._lines, None
        if lines is not None:
            lines.close()

    def _log(self, line: str) -> None:
        if self._lines is None:
            self.prepare()
        assert self._lines is not None, "it is prepared"
        self._lines.write(line)


def _load_tracing() -> "Tracing | None":
    """The observer that tells of spans; None where the variables of OpenTelemetry switch it off."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    try:
        from app.observability.tracing import ConfigurationError, Tracing
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise UnavailableError("MOONGATE_TRACING: OpenTelemetry is not installed; pip install moongate[otel]") from None
    try:
        return Tracing()
    except ConfigurationError as error:
        raise UnavailableError(str(error)) from None
