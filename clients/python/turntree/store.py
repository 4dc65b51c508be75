"""The contract of a store: what every implementation, embedded or remote, promises to whoever calls it.

The promises that hold for every call:

- A call is all or nothing, also when its caller is cancelled, its deadline passes or the server dies in the middle.
- A mutation that has returned survives a kill of the server and a loss of power.
- A mutation with a `request_id` that is repeated has no second effect and gets the first answer, also after a restart;
  the same id with other content is refused. A remote store makes an id for every mutation that comes without one.
- A read sees every write that was acknowledged before the read began. Order is a sequence number's, never a clock's.
- What one branch or session writes never shows in another.
- Items are opaque: the caller's bytes come back as they are.
- An item may have a native form, an SDK's own, in a dialect. It is kept beside the item, on every branch that shows it,
  goes when the item goes, and comes back as it was to who reads in that dialect, and to nobody else.

Calls raise the errors of `turntree.errors` and no others. `InvalidArgument` is possible everywhere, by the limits in
`turntree.limits`, and so is `Unavailable`; the other errors are named with each call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar

from turntree.model import (
    ALL_ITEMS,
    MAIN,
    Branch,
    BranchComparison,
    BranchPointer,
    CreatedBranch,
    DeletedBranch,
    DeltaKind,
    Expiry,
    ItemMetadata,
    ItemsDelta,
    ItemsWindow,
    LetterCase,
    NativeItem,
    Origin,
    Page,
    Popped,
    RecordedUsage,
    Session,
    ToolUsage,
    Turn,
    TurnsDelta,
    TurnUsage,
    Usage,
    UsageGrouping,
    UsageMode,
    UsageSummary,
    UsageTotal,
    Written,
    moved_natives,
)

T = TypeVar("T")

_NO_LABELS: Mapping[str, str] = {}


class Store(ABC):
    """Where sessions are kept. Safe to use from several tasks at once, and from one event loop after another."""

    # Items

    @abstractmethod
    async def add_items(
        self,
        session_id: str,
        items: Sequence[bytes],
        *,
        branch: BranchPointer = MAIN,
        expected_cursor: bytes | None = None,
        request_id: str | None = None,
        natives: Sequence[NativeItem] = (),
    ) -> Written:
        """Append items to a branch, in order, after all that is there; the first write creates the session.

        Args:
            session_id: The session.
            items: JSON texts, at least one.
            branch: Where to append.
            expected_cursor: Write only if the branch is at this cursor: of two racing writers exactly one wins.
            request_id: Names this mutation.
            natives: Native forms of some of the items, at most one an item.

        Raises:
            NotFound: BRANCH_NOT_FOUND, when the branch id was never created.
            Conflict: CURSOR_MISMATCH.
            FailedPrecondition: REQUEST_ID_REUSED.
        """

    @abstractmethod
    async def get_items(
        self,
        session_id: str,
        *,
        branch: BranchPointer = MAIN,
        cursor: bytes | None = None,
        window: ItemsWindow = ALL_ITEMS,
        include_metadata: bool = False,
        native_dialect: str | None = None,
    ) -> ItemsDelta:
        """Read a branch, or what of it is new since `cursor`, oldest item first.

        The answer ends at about 1 MiB with `more` set; `read_items` and `stream_items` read on by themselves. A branch
        or session that does not exist is empty. With a window the answer is APPENDED only while the window reaches back
        to what the caller has; what then lies before the window is the caller's to drop. With `native_dialect`, the
        items' native forms in that dialect come with them.
        """

    @abstractmethod
    def stream_items(
        self,
        session_id: str,
        *,
        branch: BranchPointer = MAIN,
        cursor: bytes | None = None,
        window: ItemsWindow = ALL_ITEMS,
        include_metadata: bool = False,
        native_dialect: str | None = None,
    ) -> AsyncGenerator[ItemsDelta, None]:
        """Read a branch of any length as deltas of about 1 MiB, each with the cursor that resumes after it.

        The deltas applied so far are always a state that the branch was in: a rewrite while it streams starts it over
        with a REPLACED delta.
        """

    @abstractmethod
    def watch(
        self,
        session_id: str,
        *,
        branch: BranchPointer = MAIN,
        cursor: bytes | None = None,
        include_metadata: bool = False,
        native_dialect: str | None = None,
    ) -> AsyncGenerator[ItemsDelta, None]:
        """Follow a branch: its state by cursor at once, then a delta for every change, without end.

        After a disconnect, a watch with the last cursor goes on where the first one stopped. When the session is
        cleared, a REPLACED delta says so, and the watch goes on at `main`.
        """

    @abstractmethod
    async def pop_item(
        self,
        session_id: str,
        *,
        branch: BranchPointer = MAIN,
        expected_cursor: bytes | None = None,
        request_id: str | None = None,
        native_dialect: str | None = None,
    ) -> Popped:
        """Remove and return the newest item of a branch.

        An item that another branch still shows is kept there. A turn's usage goes with its last item. Items whose
        stored text is not JSON are removed on the way.

        Raises:
            Conflict: CURSOR_MISMATCH.
            FailedPrecondition: REQUEST_ID_REUSED.
        """

    @abstractmethod
    async def replace_items(
        self,
        session_id: str,
        remove_count: int,
        items: Sequence[bytes],
        *,
        expected_cursor: bytes,
        branch: BranchPointer = MAIN,
        request_id: str | None = None,
        natives: Sequence[NativeItem] = (),
    ) -> Written:
        """Replace the newest `remove_count` items of a branch by others, if the branch is at `expected_cursor`.

        Raises:
            InvalidArgument: Also FIELD_INVALID, when the branch has fewer items than `remove_count`.
            NotFound: BRANCH_NOT_FOUND, when the branch id was never created.
            Conflict: CURSOR_MISMATCH.
            FailedPrecondition: REQUEST_ID_REUSED.
        """

    # Sessions

    @abstractmethod
    async def clear_session(self, session_id: str, *, request_id: str | None = None) -> BranchPointer:
        """Remove every item, branch and usage figure of a session and raise its generation; labels and expiry stay.

        Items that were popped before go from the recorded answers too: a repeat of such a pop gets no item, and pops
        none.

        Branch ids stay reserved. Returns a pointer to the empty `main` of the new generation.

        Raises:
            FailedPrecondition: REQUEST_ID_REUSED.
        """

    @abstractmethod
    async def get_session(self, session_id: str) -> Session:
        """Describe a session.

        Raises:
            NotFound: SESSION_NOT_FOUND.
        """

    @abstractmethod
    async def list_sessions(
        self,
        *,
        labels: Mapping[str, str] = _NO_LABELS,
        active_since: datetime | None = None,
        active_before: datetime | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[Session]:
        """List the sessions that carry all of `labels` and were active in the given time, the last active first."""

    @abstractmethod
    async def update_session(
        self,
        session_id: str,
        *,
        labels: Mapping[str, str] = _NO_LABELS,
        remove_labels: Sequence[str] = (),
        expiry: Expiry | None = None,
        request_id: str | None = None,
    ) -> Session:
        """Set and remove labels, set the expiry, and create the session if it does not exist.

        Labels not named stay; without `expiry` it stays as it is. A session past its expiry looks like an absent one.

        Raises:
            FailedPrecondition: REQUEST_ID_REUSED.
        """

    @abstractmethod
    async def delete_session(self, session_id: str, *, request_id: str | None = None) -> None:
        """Remove a session with all that belongs to it, its reserved branch ids and labels too.

        Items that were popped before go from the recorded answers, as `clear_session` says.

        Raises:
            NotFound: SESSION_NOT_FOUND.
            FailedPrecondition: REQUEST_ID_REUSED.
        """

    # Branches

    @abstractmethod
    async def create_branch(
        self,
        session_id: str,
        origin: Origin,
        *,
        branch: BranchPointer = MAIN,
        new_branch_id: str | None = None,
        request_id: str | None = None,
    ) -> CreatedBranch:
        """Fork a branch: the new one shows its items up to `origin`, shared and not copied, and goes its own way.

        Raises:
            NotFound: BRANCH_NOT_FOUND, TURN_NOT_FOUND or CONTENT_NOT_FOUND.
            AlreadyExists: BRANCH_ID_USED; an id once used is never used again in its session.
            FailedPrecondition: REQUEST_ID_REUSED.
        """

    @abstractmethod
    async def get_branch(self, session_id: str, branch_id: str) -> Branch:
        """Describe a branch. `main` always exists, any other while it holds items.

        Raises:
            NotFound: BRANCH_NOT_FOUND.
        """

    @abstractmethod
    async def list_branches(
        self, session_id: str, *, branch: BranchPointer = MAIN, page_size: int = 0, page_token: str = ""
    ) -> Page[Branch]:
        """List the branches that hold items, the oldest first; of the same second, by id.

        The page's `branch` is the caller's, resolved.
        """

    @abstractmethod
    async def delete_branch(self, session_id: str, branch_id: str, *, request_id: str | None = None) -> DeletedBranch:
        """Remove a branch, its usage, and every item that no other branch shows. Its id stays reserved.

        Raises:
            NotFound: BRANCH_NOT_FOUND.
            FailedPrecondition: BRANCH_PROTECTED for `main`, or REQUEST_ID_REUSED.
        """

    @abstractmethod
    async def compare_branches(self, session_id: str, branch_id: str, other_branch_id: str) -> BranchComparison:
        """Find what two branches share and where they part.

        Raises:
            NotFound: BRANCH_NOT_FOUND.
        """

    # Turns

    @abstractmethod
    async def list_turns(
        self,
        session_id: str,
        *,
        branch: BranchPointer = MAIN,
        cursor: bytes | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[Turn]:
        """List the turns of a branch by their user items, oldest first.

        Args:
            session_id: The session.
            branch: The branch.
            cursor: That of an earlier answer, of which the caller has every page: the page's `kind` tells how what
                comes now changes it. Pages after the first do not look at it. The same holds for `search_turns`, which
                takes none for all branches, `get_conversation_by_turns` and `list_tool_usage`.
            page_size: At most so many turns; 0 for 100.
            page_token: From the page before.

        Raises:
            InvalidArgument: CURSOR_INVALID, PAGE_TOKEN_INVALID, or a field's own error.
        """

    @abstractmethod
    def stream_turn_deltas(
        self,
        session_id: str,
        *,
        branch: BranchPointer = MAIN,
        cursor: bytes | None = None,
        native_dialect: str | None = None,
    ) -> AsyncGenerator[TurnsDelta, None]:
        """Stream the turns of a branch with all their items, oldest first, each message with its cursor.

        With a cursor, the stream begins with the first turn that has an item beyond it, whole.
        """

    @abstractmethod
    async def search_turns(
        self,
        session_id: str,
        content: str,
        *,
        branch: BranchPointer = MAIN,
        all_branches: bool = False,
        letter_case: LetterCase = LetterCase.ASCII,
        cursor: bytes | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[Turn]:
        """Find the turns whose user item contains a text, literally, as a person reads it."""

    @abstractmethod
    async def get_conversation_by_turns(
        self,
        session_id: str,
        *,
        branch: BranchPointer = MAIN,
        cursor: bytes | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[ItemMetadata]:
        """Outline a branch: the turn, type and tool of each item in order."""

    @abstractmethod
    async def list_tool_usage(
        self,
        session_id: str,
        *,
        branch: BranchPointer = MAIN,
        cursor: bytes | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[ToolUsage]:
        """Count tool calls by turn and tool.

        A first page that is APPENDED begins with the first turn that has an item beyond the cursor, and takes the place
        of what the caller has of that turn.
        """

    # Usage

    @abstractmethod
    async def record_usage(
        self,
        session_id: str,
        usage: Usage,
        *,
        branch: BranchPointer = MAIN,
        mode: UsageMode = UsageMode.REPLACE,
        request_id: str | None = None,
    ) -> RecordedUsage:
        """Record the usage of the branch's current turn, the one its last item belongs to.

        Nothing is recorded when the branch is empty or the pointer stale: then there is no such turn.

        Raises:
            FailedPrecondition: REQUEST_ID_REUSED.
        """

    @abstractmethod
    async def get_session_usage(self, session_id: str, *, branch_id: str | None = None) -> UsageTotal | None:
        """Add up the usage of a session or of one branch; None when none is recorded.

        A sum that passes 64 bits is given as 9,223,372,036,854,775,807.
        """

    @abstractmethod
    async def list_turn_usage(
        self,
        session_id: str,
        *,
        branch: BranchPointer = MAIN,
        turn: int | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[TurnUsage]:
        """List the usage of each turn of a branch that has it, or of one turn."""

    @abstractmethod
    async def summarize_usage(
        self,
        grouping: UsageGrouping,
        *,
        label_key: str | None = None,
        labels: Mapping[str, str] = _NO_LABELS,
        recorded_since: datetime | None = None,
        recorded_before: datetime | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[UsageSummary]:
        """Add up usage over sessions by session, by the value of the label `label_key`, or by UTC day.

        A sum that passes 64 bits is given as 9,223,372,036,854,775,807.
        """

    @abstractmethod
    async def close(self) -> None:
        """Let what is in flight finish, then release everything; further calls raise `Unavailable`."""

    # What follows from the above, the same for every store

    async def read_items(
        self,
        session_id: str,
        *,
        branch: BranchPointer = MAIN,
        cursor: bytes | None = None,
        window: ItemsWindow = ALL_ITEMS,
        native_dialect: str | None = None,
    ) -> ItemsDelta:
        """Read a branch as `get_items` does, whole, whatever its size."""
        delta = await self.get_items(
            session_id, branch=branch, cursor=cursor, window=window, native_dialect=native_dialect
        )
        if not delta.more:
            return delta
        kind, items, natives = delta.kind, list(delta.items), list(delta.natives)
        rest = self.stream_items(
            session_id, branch=delta.branch, cursor=delta.cursor, window=window, native_dialect=native_dialect
        )
        async for delta in rest:
            if delta.kind is DeltaKind.REPLACED:
                kind = DeltaKind.REPLACED
                items.clear()
                natives.clear()
            natives += moved_natives(delta.natives, len(items))
            items += delta.items
        return ItemsDelta(kind, tuple(items), delta.cursor, delta.branch, natives=tuple(natives))

    async def stream_turns(
        self,
        session_id: str,
        *,
        branch: BranchPointer = MAIN,
        cursor: bytes | None = None,
        native_dialect: str | None = None,
    ) -> AsyncGenerator[Turn, None]:
        """Stream the turns of a branch with all their items, oldest first.

        When the branch is rewritten meanwhile, the turns begin again from the first; `stream_turn_deltas` tells.
        """
        unfinished: Turn | None = None
        deltas = self.stream_turn_deltas(session_id, branch=branch, cursor=cursor, native_dialect=native_dialect)
        async with aclosing(deltas):
            async for delta in deltas:
                if delta.restarted:
                    unfinished = None
                for position, part in enumerate(delta.turns):
                    turn = _joined(unfinished, part) if unfinished is not None else part
                    unfinished = turn if delta.continued and position == len(delta.turns) - 1 else None
                    if unfinished is None:
                        yield turn

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _joined(turn: Turn, part: Turn) -> Turn:
    return Turn(
        turn.turn,
        turn.branch_id,
        turn.create_time,
        turn.user_item if turn.user_item is not None else part.user_item,
        turn.items + part.items,
        turn.metadata + part.metadata,
        turn.natives + moved_natives(part.natives, len(turn.items)),
    )


async def every(fetch: Callable[[str], Awaitable[Page[T]]]) -> Page[T]:
    """Fetch page after page, from a function of the page token, and return all entries as one page.

    Its kind is that of the first one. It has a cursor only if the branch did not change between the pages.
    """
    page = await fetch("")
    if not page.next_page_token:
        return page
    kind = page.kind
    entries = list(page.entries)
    cursors = {page.cursor}
    while page.next_page_token:
        page = await fetch(page.next_page_token)
        entries += page.entries
        cursors.add(page.cursor)
    return Page(tuple(entries), "", page.branch, page.cursor if len(cursors) == 1 else b"", kind)
