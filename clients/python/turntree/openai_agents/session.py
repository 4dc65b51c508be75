"""`TurntreeSession`: the SDK's AdvancedSQLiteSession, kept in a turntree store."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from operator import add
from typing import Any, Self, TypeVar, overload

from agents.items import TResponseInputItem
from agents.memory.session import SessionABC
from agents.memory.session_settings import SessionSettings, coerce_session_settings, resolve_session_limit
from agents.result import RunResultBase

from turntree.errors import AlreadyExists, ErrorReason, InvalidArgument, NotFound
from turntree.limits import INTEGER_MAX, OUTLINE_PAGE_SIZE_MAX, PAGE_SIZE_MAX, check, invalid
from turntree.model import (
    MAIN_BRANCH_ID,
    AfterTurn,
    AtHead,
    BeforeContent,
    BeforeTurn,
    BranchComparison,
    BranchPointer,
    CreatedBranch,
    Expiry,
    ItemsDelta,
    ItemsWindow,
    LetterCase,
    Origin,
    Page,
    Session,
    UsageMode,
)
from turntree.openai_agents import shapes, shared_stores
from turntree.openai_agents.answers import answer
from turntree.openai_agents.compaction import CompactionSnapshot, read_snapshot
from turntree.openai_agents.history_cache import applied, cache_of
from turntree.openai_agents.mutations import Mutations
from turntree.store import Store, every
from turntree.token import TokenSource

T = TypeVar("T")
R = TypeVar("R", bound="list[Any] | dict[Any, Any]")

URL_DEFAULT = "localhost:50051"

_NO_LABELS: Mapping[str, str] = {}


class TurntreeSession(SessionABC):
    """A session of the OpenAI Agents SDK, with branches, usage and queries, in a turntree store.

    It has every public method of `agents.extensions.memory.AdvancedSQLiteSession`, with the same names, parameters,
    answers and errors. The current branch belongs to this object; the history belongs to the store, where any number of
    processes share it. Mutations of one object happen in the order they were called, and each runs to its end when its
    caller is cancelled.

    Args:
        session_id: The session.
        url: The store, as for `turntree.connect`; by default the environment's `TURNTREE_URL`, else `localhost:50051`.
            Sessions of a process that name the same URL and token share one connection.
        store: A store to use instead of a URL. It stays the caller's to close.
        token: For a server that asks who calls, as for `turntree.connect`.
        session_settings: The SDK's settings; `limit` bounds `get_items`.
        logger: Where to log; by default this module's logger.
    """

    session_settings: SessionSettings | None

    def __init__(
        self,
        session_id: str,
        *,
        url: str | None = None,
        store: Store | None = None,
        token: TokenSource | None = None,
        session_settings: SessionSettings | dict[str, Any] | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        check(session_id=session_id)
        if url is not None and store is not None:
            raise InvalidArgument(  # without the url, which may hold a password
                ErrorReason.FIELD_INVALID,
                "give a url or a store, not both",
                field="url",
                value="(hidden)",
                limit="no store",
            )
        if store is not None and not isinstance(store, Store):
            invalid("store", type(store).__name__, "a Store, as turntree.connect opens one; a URL is given as url=")
        if token is not None and store is not None:
            raise InvalidArgument(
                ErrorReason.FIELD_INVALID,
                "a store has its own token, give none beside it",
                field="token",
                value="(hidden)",
                limit="no store",
            )
        self.session_id = session_id
        self.session_settings = (
            SessionSettings() if session_settings is None else coerce_session_settings(session_settings)
        )
        self._address = (url if url is not None else os.environ.get("TURNTREE_URL", URL_DEFAULT), token)
        self._given_store = store
        self._acquired_store: Store | None = None
        self._closed = False
        self._pointer = BranchPointer()
        self._mutations = Mutations()
        self._logger = logger if logger is not None else logging.getLogger(__name__)

    # The session protocol

    async def get_items(
        self,
        limit: int | None = None,
        branch_id: str | None = None,
        *,
        limit_turns: int | None = None,
        whole_exchanges: bool = False,
    ) -> list[TResponseInputItem]:
        """Return the items of a branch, oldest first.

        Args:
            limit: The newest so many items; by default that of the session settings, and all when that is None or when
                it is negative.
            branch_id: The branch; by default the current one.
            limit_turns: Only items of the newest so many turns.
            whole_exchanges: Never begin between a tool call and its output; fewer than `limit` items may come back.
        """
        limit = resolve_session_limit(limit, self.session_settings)
        if limit is not None and not 0 <= limit <= INTEGER_MAX:
            limit = None
        pointer = self._read_pointer(branch_id)
        if pointer is None:
            return []
        store = await self._store()
        if limit is None and limit_turns is None:
            delta, items = await self._read_all(store, pointer)
        else:
            window = ItemsWindow(limit, limit_turns, whole_exchanges)
            delta, items = await self._read_window(store, pointer, window)
        if branch_id is None:
            self._follow(pointer, delta.branch)
        return items

    async def _read_all(self, store: Store, pointer: BranchPointer) -> tuple[ItemsDelta, list[TResponseInputItem]]:
        """All items of a branch; only those are fetched that this process has not read before."""
        cache = cache_of(store)
        known = cache.get(self.session_id, pointer.branch_id)
        cursor = known.cursor if known is not None else None
        delta = await store.read_items(self.session_id, branch=pointer, cursor=cursor)
        history = applied(known, delta)
        if history is not known:
            cache.put(history, self.session_id, delta.branch.branch_id)
        return delta, history.items()

    async def _read_window(
        self, store: Store, pointer: BranchPointer, window: ItemsWindow
    ) -> tuple[ItemsDelta, list[TResponseInputItem]]:
        """The items of a window; it is widened when stored items that are not JSON take up its room.

        One of whole exchanges is not, and may hold fewer: cut to its limit it might begin within an exchange.
        """
        limit = window.limit
        while True:
            delta = await store.read_items(self.session_id, branch=pointer, window=window)
            items = shapes.decode_all(delta.items)
            if window.whole_exchanges:
                return delta, items
            if limit is None or window.limit is None or len(items) >= limit or len(delta.items) < window.limit:
                return delta, items[-limit:] if limit else items
            window = replace(window, limit=2 * window.limit)

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Append items to the current branch, all or none."""
        self._require_open()
        if not items:
            return
        pointer = self._pointer

        async def add() -> None:
            store = await self._store()
            written = await store.add_items(self.session_id, payloads, branch=pointer)
            self._follow(pointer, written.branch)
            cache_of(store).extend(self.session_id, written, payloads)

        try:
            payloads = [shapes.encode(item) for item in items]
            await self._mutations.run(add)
        except Exception as error:
            self._logger.error("Failed to add session items: %s", type(error).__name__)
            raise

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove and return the newest item of the current branch; None when it is empty."""
        pointer = self._pointer

        async def pop() -> bytes | None:
            popped = await (await self._store()).pop_item(self.session_id, branch=pointer)
            self._follow(pointer, popped.branch)
            return popped.item

        payload = await self._mutations.run(pop)
        item: TResponseInputItem | None = shapes.decode(payload) if payload is not None else None
        return item

    async def clear_session(self) -> None:
        """Remove all items, branches and usage; every session object of this session is at `main` then."""

        async def clear() -> None:
            self._pointer = await (await self._store()).clear_session(self.session_id)

        await self._mutations.run(clear)

    # Branches

    async def create_branch_from_turn(self, turn_number: int, branch_name: str | None = None) -> str:
        """Fork the current branch before a turn's user item, and switch to the new branch.

        Returns:
            The new branch's id.

        Raises:
            ValueError: The turn has no user item, or the name is blank or was used before.
        """
        _refuse_blank(branch_name)
        try:
            return await self._create_branch(BeforeTurn(0 if _is_negative(turn_number) else turn_number), branch_name)
        except NotFound as error:
            raise ValueError(
                f"Turn {turn_number} does not contain a user message in branch '{error.facts['branch_id']}'"
            ) from error

    async def create_branch_after_turn(self, turn_number: int, branch_name: str | None = None) -> str:
        """Fork the current branch after a turn's last item, and switch to the new branch.

        Raises:
            ValueError: The turn does not exist, or the name is blank or was used before.
        """
        _refuse_blank(branch_name)
        try:
            return await self._create_branch(AfterTurn(turn_number), branch_name)
        except NotFound as error:
            raise ValueError(error.message) from error

    async def create_branch_from_head(self, branch_name: str | None = None) -> str:
        """Fork the current branch at its end, with all its items, and switch to the new branch.

        Raises:
            ValueError: The name is blank or was used before.
        """
        _refuse_blank(branch_name)
        return await self._create_branch(AtHead(), branch_name)

    async def create_branch_from_content(self, search_term: str, branch_name: str | None = None) -> str:
        """Fork the current branch before the first turn whose user item contains a text, and switch to the new one.

        Raises:
            ValueError: No turn contains it, or the name is blank or was used before.
        """
        missing = f"No user turns found containing '{search_term}'"
        if branch_name is not None and not branch_name.strip():
            if not await self.find_turns_by_content(search_term):
                raise ValueError(missing)
            _refuse_blank(branch_name)
        try:
            return await self._create_branch(BeforeContent(search_term), branch_name)
        except NotFound as error:
            raise ValueError(missing) from error

    async def _create_branch(self, origin: Origin, branch_name: str | None) -> str:
        async def create() -> CreatedBranch:
            pointer = self._pointer
            store = await self._store()
            try:
                created = await store.create_branch(self.session_id, origin, branch=pointer, new_branch_id=branch_name)
            except (AlreadyExists, NotFound):
                here = await store.get_items(self.session_id, branch=pointer, window=ItemsWindow(0))
                self._follow(pointer, here.branch)
                raise
            self._follow(pointer, created.source)
            self._switch(pointer, created.branch.pointer)
            return created

        try:
            created = await self._mutations.run(create)
        except AlreadyExists as error:
            raise ValueError(error.message) from error
        self._logger.debug("Created branch '%s' from '%s'", created.branch.branch_id, created.source.branch_id)
        return created.branch.branch_id

    async def switch_to_branch(self, branch_id: str) -> None:
        """Make a branch the current one.

        Raises:
            ValueError: It does not exist.
        """
        missing = f"Branch '{branch_id}' does not exist"
        if _cannot_exist(branch_id):
            raise ValueError(missing)
        old_branch_id = self._pointer.branch_id

        async def switch() -> None:
            pointer = self._pointer
            branch = await (await self._store()).get_branch(self.session_id, branch_id)
            if branch.item_count == 0:
                raise ValueError(missing)
            self._switch(pointer, branch.pointer)

        try:
            await self._mutations.run(switch)
        except NotFound as error:
            raise ValueError(missing) from error
        self._logger.info("Switched from branch '%s' to '%s'", old_branch_id, branch_id)

    async def delete_branch(self, branch_id: str, force: bool = False) -> None:
        """Remove a branch and its usage; its id stays reserved.

        Args:
            branch_id: The branch.
            force: Allow it to be the current one, and switch to `main`.

        Raises:
            ValueError: It does not exist, is `main`, or is the current branch without `force`.
        """
        if not branch_id or not branch_id.strip():
            raise ValueError("Branch ID cannot be empty")
        if branch_id == MAIN_BRANCH_ID:
            raise ValueError("Cannot delete the 'main' branch")
        missing = f"Branch '{branch_id}' does not exist"
        if branch_id == self._pointer.branch_id:
            if not force:
                raise ValueError(f"Cannot delete current branch '{branch_id}'. Use force=True or switch branches first")
            if not any(row["branch_id"] == branch_id for row in await self.list_branches()):
                raise ValueError(missing)
            await self.switch_to_branch(MAIN_BRANCH_ID)
        if _cannot_exist(branch_id):
            raise ValueError(missing)

        async def delete() -> None:
            deleted = await (await self._store()).delete_branch(self.session_id, branch_id)
            self._logger.info(
                "Deleted branch '%s': %s message entries, %s usage entries, %s orphaned messages",
                branch_id,
                deleted.item_count,
                deleted.usage_count,
                deleted.orphan_count,
            )

        try:
            await self._mutations.run(delete)
        except NotFound as error:
            raise ValueError(missing) from error

    async def list_branches(self) -> list[dict[str, Any]]:
        """List the branches that hold items, the oldest first.

        Each is a dict of `branch_id`, `message_count`, `user_turns`, `is_current` and `created_at`.
        """
        page = await self._every(
            None,
            lambda store, pointer, token: store.list_branches(
                self.session_id, branch=pointer, page_size=PAGE_SIZE_MAX, page_token=token
            ),
        )
        return [shapes.branch_row(branch, page.branch) for branch in page.entries]

    async def compare_branches(self, branch_id: str, other_branch_id: str) -> BranchComparison:
        """Find what two branches share and where they part.

        Raises:
            NotFound: One of them does not exist.
        """
        return await (await self._store()).compare_branches(self.session_id, branch_id, other_branch_id)

    # Turns

    async def get_conversation_turns(self, branch_id: str | None = None) -> list[dict[str, Any]]:
        """List the turns of a branch by their user items.

        Each is a dict of `turn`, `content` (at most 100 characters of it), `full_content`, `timestamp` and
        `can_branch`.
        """
        return await self._answer(
            branch_id,
            ("turns",),
            lambda store, pointer, cursor, token: store.list_turns(
                self.session_id, branch=pointer, cursor=cursor, page_size=PAGE_SIZE_MAX, page_token=token
            ),
            shapes.turn_rows,
            add,
        )

    async def find_turns_by_content(self, search_term: str, branch_id: str | None = None) -> list[dict[str, Any]]:
        """List the turns of a branch whose user item contains a text, ignoring the case of ASCII letters.

        Each is a dict as of `get_conversation_turns`, with all of `content`.
        """
        return await self._answer(
            branch_id,
            ("search", search_term),
            lambda store, pointer, cursor, token: store.search_turns(
                self.session_id, search_term, branch=pointer, cursor=cursor, page_size=PAGE_SIZE_MAX, page_token=token
            ),
            partial(shapes.turn_rows, preview_characters=None),
            add,
            keep_short=True,
        )

    async def search_turns(self, search_term: str, *, all_branches: bool = True) -> list[dict[str, Any]]:
        """List the turns whose user item contains a text, on all branches, ignoring the case of any letter.

        Each is a dict as of `find_turns_by_content`, with its `branch_id`.
        """
        page = await self._every(
            None,
            lambda store, pointer, token: store.search_turns(
                self.session_id,
                search_term,
                branch=pointer,
                all_branches=all_branches,
                letter_case=LetterCase.UNICODE,
                page_size=PAGE_SIZE_MAX,
                page_token=token,
            ),
        )
        return [
            {"branch_id": turn.branch_id, **row}
            for turn in page.entries
            for row in shapes.turn_rows([turn], preview_characters=None)
        ]

    async def get_conversation_by_turns(self, branch_id: str | None = None) -> dict[int, list[dict[str, str | None]]]:
        """Outline a branch: for each turn the `type` and `tool_name` of its items."""
        return await self._answer(
            branch_id,
            ("outline",),
            lambda store, pointer, cursor, token: store.get_conversation_by_turns(
                self.session_id, branch=pointer, cursor=cursor, page_size=OUTLINE_PAGE_SIZE_MAX, page_token=token
            ),
            shapes.outline,
            shapes.extended_outline,
        )

    async def get_tool_usage(self, branch_id: str | None = None) -> list[tuple[str, int, int]]:
        """Count tool calls: tuples of tool name, count and turn."""
        return await self._answer(
            branch_id,
            ("tools",),
            lambda store, pointer, cursor, token: store.list_tool_usage(
                self.session_id, branch=pointer, cursor=cursor, page_size=OUTLINE_PAGE_SIZE_MAX, page_token=token
            ),
            shapes.tool_counts,
            shapes.extended_tool_counts,
        )

    async def stream_turns(self, branch_id: str | None = None) -> AsyncGenerator[shapes.StreamedTurn, None]:
        """Stream the turns of a branch with all their items, oldest first, whatever its length."""
        pointer = self._read_pointer(branch_id)
        if pointer is None:
            return
        async with aclosing((await self._store()).stream_turns(self.session_id, branch=pointer)) as turns:
            async for turn in turns:
                yield shapes.streamed_turn(turn)

    async def watch(
        self, branch_id: str | None = None, *, cursor: bytes | None = None
    ) -> AsyncGenerator[shapes.Change, None]:
        """Follow a branch: its state first, or what is new since `cursor`, then every change, without end."""
        pointer = self._read_pointer(branch_id)
        if pointer is None:
            return
        changes = (await self._store()).watch(self.session_id, branch=pointer, cursor=cursor, include_metadata=True)
        async with aclosing(changes):
            async for delta in changes:
                yield shapes.change(delta)

    # Usage

    async def store_run_usage(self, result: RunResultBase, *, add: bool = False) -> None:
        """Record the usage of a run for the turn that is current now.

        Call it after each run. A failure is logged, not raised.

        Args:
            result: The run's result.
            add: Add to what the turn has, for a turn of several runs, instead of replacing it.
        """
        pointer = self._pointer

        async def record() -> None:
            usage = shapes.read_run_usage(result.context_wrapper.usage)
            if usage is None:
                return
            mode = UsageMode.ADD if add else UsageMode.REPLACE
            recorded = await (await self._store()).record_usage(self.session_id, usage, branch=pointer, mode=mode)
            self._follow(pointer, recorded.branch)

        try:
            await self._mutations.run(record)
        except Exception as error:
            self._logger.error("Failed to store session usage: %s", error, extra={"session_id": self.session_id})

    async def get_session_usage(self, branch_id: str | None = None) -> dict[str, int] | None:
        """Add up the usage of the session, or of one branch.

        A dict of `requests`, `input_tokens`, `output_tokens`, `total_tokens` and `total_turns`; None when there is
        none.
        """
        if branch_id and _cannot_exist(branch_id):
            return None
        total = await (await self._store()).get_session_usage(self.session_id, branch_id=branch_id or None)
        return shapes.usage_total(total)

    @overload
    async def get_turn_usage(
        self, user_turn_number: None = None, branch_id: str | None = None
    ) -> list[dict[str, Any]]: ...

    @overload
    async def get_turn_usage(self, user_turn_number: int, branch_id: str | None = None) -> dict[str, Any]: ...

    @overload
    async def get_turn_usage(
        self, user_turn_number: int | None = None, branch_id: str | None = None
    ) -> list[dict[str, Any]] | dict[str, Any]: ...

    async def get_turn_usage(
        self, user_turn_number: int | None = None, branch_id: str | None = None
    ) -> list[dict[str, Any]] | dict[str, Any]:
        """The usage of each turn of a branch, or a dict of one turn's: empty when that turn has none.

        Each is a dict of `user_turn_number` (in the list only), `requests`, `input_tokens`, `output_tokens`,
        `total_tokens`, `input_tokens_details` and `output_tokens_details`.
        """
        if _is_negative(user_turn_number):
            return {}
        page = await self._every(
            branch_id,
            lambda store, pointer, token: store.list_turn_usage(
                self.session_id, branch=pointer, turn=user_turn_number, page_size=PAGE_SIZE_MAX, page_token=token
            ),
        )
        if user_turn_number is not None:
            return shapes.usage_row(page.entries[0]) if page.entries else {}
        return [{"user_turn_number": usage.turn, **shapes.usage_row(usage)} for usage in page.entries]

    # The session as a whole

    async def get_session(self) -> Session:
        """Describe the session: its times, labels and expiry.

        Raises:
            NotFound: Nothing was written to it yet.
        """
        return await (await self._store()).get_session(self.session_id)

    async def update_session(
        self,
        *,
        labels: Mapping[str, str] = _NO_LABELS,
        remove_labels: Sequence[str] = (),
        expiry: Expiry | None = None,
    ) -> Session:
        """Set and remove labels, and set when the session expires: at a time, after a timedelta, or NEVER."""

        async def update() -> Session:
            return await (await self._store()).update_session(
                self.session_id, labels=labels, remove_labels=remove_labels, expiry=expiry
            )

        return await self._mutations.run(update)

    async def delete_session(self) -> None:
        """Remove the session with all that belongs to it, labels and reserved branch names too.

        Raises:
            NotFound: It does not exist.
        """

        async def delete() -> None:
            await (await self._store()).delete_session(self.session_id)
            self._pointer = BranchPointer()

        await self._mutations.run(delete)

    async def close(self) -> None:
        """Release the connection; the last session on a URL closes it. The session cannot be used any more."""
        if self._closed:
            return
        self._closed = True
        self._acquired_store = None
        await shared_stores.release(self._address, self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # The SDK's compaction asks for this

    async def _get_compaction_snapshot(
        self, limit: int, *, prune_prefix: Callable[[TResponseInputItem], bool] | None = None
    ) -> CompactionSnapshot | None:
        """The newest items, and a way to replace a suffix of them if nobody wrote meanwhile.

        What lies before the suffix is kept: `prune_prefix` would only save space.
        """
        pointer = self._pointer
        return await read_snapshot(await self._store(), self.session_id, pointer, limit, self._mutations)

    async def _atomic_replace_items(self, items: list[TResponseInputItem]) -> bool:
        """Replace all items of the current branch in one step; other branches stay.

        Raises:
            Conflict: Somebody else wrote just then; nothing was replaced.
        """
        pointer = self._pointer
        payloads = [shapes.encode(item) for item in items]

        async def replace() -> bool:
            store = await self._store()
            here = await store.get_items(self.session_id, branch=pointer, window=ItemsWindow(0))
            self._follow(pointer, here.branch)
            item_count = await self._item_count(store, here.branch.branch_id)
            if item_count or payloads:
                await store.replace_items(
                    self.session_id, item_count, payloads, branch=here.branch, expected_cursor=here.cursor
                )
            return True

        return await self._mutations.run(replace)

    async def _item_count(self, store: Store, branch_id: str) -> int:
        try:
            return (await store.get_branch(self.session_id, branch_id)).item_count
        except NotFound:  # a branch is not listed while it has no items
            return 0

    # Where the object stands

    def _require_open(self) -> None:
        if self._closed:
            raise RuntimeError("TurntreeSession is closed")

    async def _store(self) -> Store:
        self._require_open()
        if self._given_store is not None:
            return self._given_store
        if self._acquired_store is None:
            self._acquired_store = await shared_stores.acquire(self._address, self)
        return self._acquired_store

    def _read_pointer(self, branch_id: str | None) -> BranchPointer | None:
        """The branch to read: the current one, or the one named; None for a name that no branch can have."""
        self._require_open()
        if branch_id is None:
            return self._pointer
        return None if _cannot_exist(branch_id) else BranchPointer(branch_id)

    def _follow(self, asked: BranchPointer, resolved: BranchPointer) -> None:
        """Learn from what the current branch was resolved to that the session was cleared, or its database restored."""
        if resolved.generation != self._pointer.generation and self._is_news(asked, resolved):
            self._pointer = BranchPointer(MAIN_BRANCH_ID, resolved.generation)

    def _switch(self, asked: BranchPointer, pointer: BranchPointer) -> None:
        """Make a branch the current one, unless the session was cleared since."""
        if self._is_news(asked, pointer):
            self._pointer = pointer

    def _is_news(self, asked: BranchPointer, answered: BranchPointer) -> bool:
        """Whether an answer is no older than what this object knows: answers come in any order.

        Generations rise, but for a database that was restored: that is so when nothing was learned since the question.
        """
        return asked is self._pointer or (answered.generation or 0) >= (self._pointer.generation or 0)

    async def _answer(
        self,
        branch_id: str | None,
        question: tuple[str, ...],
        fetch: Callable[[Store, BranchPointer, bytes | None, str], Awaitable[Page[T]]],
        shape: Callable[[tuple[T, ...]], R],
        extended: Callable[[R, R], R],
        *,
        keep_short: bool = False,
    ) -> R:
        """The answer to a question about a branch; see `answer`."""
        pointer = self._read_pointer(branch_id)
        if pointer is None:
            return shape(())
        store = await self._store()
        branch, answered = await answer(
            store,
            self.session_id,
            pointer,
            question,
            lambda token, cursor: fetch(store, pointer, cursor, token),
            shape,
            extended,
            keep_short=keep_short,
        )
        if branch_id is None:
            self._follow(pointer, branch)
        return answered

    async def _every(
        self, branch_id: str | None, fetch: Callable[[Store, BranchPointer, str], Awaitable[Page[T]]]
    ) -> Page[T]:
        """All pages of a query on a branch."""
        pointer = self._read_pointer(branch_id)
        if pointer is None:
            return Page(())
        store = await self._store()
        page = await every(lambda token: fetch(store, pointer, token))
        if branch_id is None:
            self._follow(pointer, page.branch)
        return page


def _refuse_blank(branch_name: str | None) -> None:
    if branch_name is not None and not branch_name.strip():
        raise ValueError("Branch name cannot be empty")


def _is_negative(turn: Any) -> bool:
    """Whether a turn is a number that none has: the SDK answers so. What is no number is the store's to refuse."""
    return isinstance(turn, int) and turn < 0


def _cannot_exist(branch_id: str) -> bool:
    """Whether no branch can have this id."""
    try:
        check(branch_id=branch_id)
    except InvalidArgument:
        return True
    return False
