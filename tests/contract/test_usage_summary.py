"""Summaries: what sessions cost, added up by session, by label or by day."""

from __future__ import annotations

from datetime import timedelta

import pytest
from turntree.errors import ErrorReason, InvalidArgument
from turntree.model import AtHead, BranchPointer, Usage, UsageGrouping, UsageSummary, UsageTotal
from turntree.store import Store

from tests.support.clock import StillClock
from tests.support.items import turns
from tests.support.reading import pages_of


def tokens(count: int) -> Usage:
    """Usage of so many tokens, all input, in one request."""
    return Usage(1, count, 0, count)


def total(count: int, *, turn_count: int = 1, requests: int | None = None) -> UsageTotal:
    """What usages made by `tokens` add up to."""
    return UsageTotal(turn_count if requests is None else requests, count, 0, count, turn_count)


async def spend(store: Store, session_id: str, *counts: int, label: str | None = None) -> None:
    """Record usage for new turns of a session."""
    if label is not None:
        await store.update_session(session_id, labels={"team": label})
    for count in counts:
        await store.add_items(session_id, turns(1))
        await store.record_usage(session_id, tokens(count))


async def test_summary(store: Store, clock: StillClock) -> None:
    """Usage over sessions adds up by session, by the value of a label, or by UTC day, in order of the group."""
    today, tomorrow = f"{clock.now:%Y-%m-%d}", f"{clock.now + timedelta(days=1):%Y-%m-%d}"
    await spend(store, "b", 1, 2, label="red")
    await spend(store, "c", 4, label="blue")
    clock.advance(days=1)
    await spend(store, "a", 8)
    await spend(store, "d", 16, label="red")
    await store.create_branch("d", AtHead(), new_branch_id="fork")
    await store.record_usage("d", tokens(32), branch=BranchPointer("fork"))

    async def groups(grouping: UsageGrouping, label_key: str | None = None) -> dict[str, UsageTotal]:
        page = await store.summarize_usage(grouping, label_key=label_key)
        assert [summary.group for summary in page.entries] == sorted(summary.group for summary in page.entries)
        return {summary.group: summary.total for summary in page.entries}

    by_session = {"a": total(8), "b": total(3, turn_count=2), "c": total(4), "d": total(48, turn_count=2)}
    assert await groups(UsageGrouping.SESSION) == by_session
    by_team = {"": total(8), "blue": total(4), "red": total(51, turn_count=4)}
    assert await groups(UsageGrouping.LABEL, "team") == by_team
    assert await groups(UsageGrouping.LABEL, "other") == {"": total(63, turn_count=6)}
    assert await groups(UsageGrouping.DAY) == {today: total(7, turn_count=3), tomorrow: total(56, turn_count=3)}


async def test_summary_filters(store: Store, clock: StillClock) -> None:
    """A summary may be of the sessions with certain labels, and of what was recorded in a certain time."""
    start = clock.now
    await spend(store, "a", 1, label="red")
    clock.advance(minutes=1)
    await spend(store, "a", 2)
    await spend(store, "b", 4, label="blue")
    clock.advance(minutes=1)
    await spend(store, "b", 8)

    async def spent(**filters: object) -> dict[str, int]:
        page = await store.summarize_usage(UsageGrouping.SESSION, **filters)  # type: ignore[arg-type]
        return {summary.group: summary.total.total_tokens for summary in page.entries}

    minute = start + timedelta(minutes=1)
    assert await spent(labels={"team": "red"}) == {"a": 3}
    assert await spent(labels={"team": "red", "tier": "1"}) == {}
    assert await spent(recorded_since=minute) == {"a": 2, "b": 12}
    assert await spent(recorded_before=minute) == {"a": 1}
    assert await spent(recorded_since=minute, recorded_before=minute + timedelta(seconds=1)) == {"a": 2, "b": 4}
    assert await spent(recorded_since=minute, labels={"team": "blue"}) == {"b": 12}


async def spend_by_five(store: Store, clock: StillClock) -> None:
    """Record usage for five sessions on five days, four of them with a team."""
    for name in ("a", "c", "b", "d"):
        await spend(store, name, 1, label=name)
        clock.advance(days=1)
    await spend(store, "e", 1)


@pytest.mark.parametrize("grouping", UsageGrouping)
@pytest.mark.parametrize("page_size", range(1, 7))
async def test_summary_pages(store: Store, clock: StillClock, grouping: UsageGrouping, page_size: int) -> None:
    """Page after page brings every group once, in order."""
    await spend_by_five(store, clock)
    key = "team" if grouping is UsageGrouping.LABEL else None
    every = (await store.summarize_usage(grouping, label_key=key)).entries
    pages = await pages_of(
        lambda token: store.summarize_usage(grouping, label_key=key, page_size=page_size, page_token=token)
    )
    assert len(every) == 5
    assert tuple(summary for page in pages for summary in page) == every
    assert [len(page) for page in pages[:-1]] == [page_size] * (len(pages) - 1)


async def test_summary_page_tokens(store: Store, clock: StillClock) -> None:
    """A page token goes on with the summary it was made for and no other."""
    await spend_by_five(store, clock)
    token = (await store.summarize_usage(UsageGrouping.SESSION, page_size=1)).next_page_token
    for call in (
        store.summarize_usage(UsageGrouping.DAY, page_token=token),
        store.summarize_usage(UsageGrouping.LABEL, label_key="team", page_token=token),
        store.summarize_usage(UsageGrouping.SESSION, labels={"team": "a"}, page_token=token),
        store.summarize_usage(UsageGrouping.SESSION, recorded_since=clock.now, page_token=token),
    ):
        with pytest.raises(InvalidArgument) as refused:
            await call
        assert refused.value.reason is ErrorReason.PAGE_TOKEN_INVALID


async def test_label_key(store: Store) -> None:
    """A label key is given exactly when usage is grouped by it."""
    for grouping, label_key in ((UsageGrouping.LABEL, None), (UsageGrouping.SESSION, "team"), (UsageGrouping.DAY, "x")):
        with pytest.raises(InvalidArgument) as refused:
            await store.summarize_usage(grouping, label_key=label_key)
        assert refused.value.facts["field"] == "label_key"
    assert (await store.summarize_usage(UsageGrouping.SESSION)).entries == ()


async def test_deleted_sessions_cost_nothing(store: Store) -> None:
    """What was deleted or cleared is not in any summary."""
    for name in ("a", "b", "c"):
        await spend(store, name, 1)
    await store.delete_session("a")
    await store.clear_session("b")
    page = await store.summarize_usage(UsageGrouping.SESSION)
    assert page.entries == (UsageSummary("c", total(1)),)
