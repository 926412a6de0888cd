"""What a run does when a part of it that others depend on breaks."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from app.providers.base import Change
from app.providers.file import FileProvider
from app.runtime import Runtime
from app.settings import Settings


def test_the_end_of_all_changes_is_told_and_what_is_served_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def changes(self: FileProvider) -> AsyncGenerator[Change, None]:
        raise LookupError("a fault of ours")
        yield Change()

    monkeypatch.setattr(FileProvider, "changes", changes)

    async def main() -> None:
        async with Runtime(Settings(manifests=(tmp_path,), admin="off")) as runtime:
            table = runtime.table
            while "no change is served any more" not in caplog.text:
                await asyncio.sleep(0)
            assert runtime.serving
            assert runtime.table is table

    asyncio.run(main())
    assert "a fault of ours" in caplog.text
