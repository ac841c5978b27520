"""What was read once is not read again, and never outlives a commit of anybody."""

from pathlib import Path

import pytest

from query_api.control.store import ControlStore
from query_api.control.while_unchanged import WhileUnchanged


class Asked:
    """Reads a definition and counts how often."""

    def __init__(self, store: ControlStore) -> None:
        self.times = 0
        self._store = store

    async def __call__(self) -> str:
        self.times += 1
        record = await self._store.get("metric", "t", "a")
        if record is None:
            raise LookupError
        return record.payload


@pytest.mark.parametrize(("url", "times"), [("sqlite+aiosqlite:///{}/control.sqlite3", 1), ("sqlite+aiosqlite:///:memory:", 3)], ids=["file", "memory"])
async def test_a_file_is_read_once_and_any_other_store_each_time(url: str, times: int, tmp_path: Path) -> None:
    store = ControlStore(url.format(tmp_path))
    await store.migrate()
    await store.put("metric", "t", "a", "1")
    kept, asked = WhileUnchanged[str, str](store.commits), Asked(store)
    assert [await kept.get("a", asked) for _ in range(3)] == ["1", "1", "1"]
    assert asked.times == times
    await store.close()


async def test_every_commit_is_seen_at_once_also_that_of_another_process(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/control.sqlite3"
    store, other = ControlStore(url), ControlStore(url)
    await store.migrate()
    kept, asked = WhileUnchanged[str, str](store.commits), Asked(store)
    for number in range(20):
        await (store if number % 2 else other).put("metric", "t", "a", str(number))
        assert await kept.get("a", asked) == str(number)
    await other.delete("metric", "t", "a")
    with pytest.raises(LookupError):
        await kept.get("a", asked)
    await other.put("metric", "t", "a", "back")
    assert await kept.get("a", asked) == "back"
    await store.close()
    await other.close()
