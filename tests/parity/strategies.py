"""What hypothesis draws: items of every kind, texts and searches from one alphabet, usage, limits and branches."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from agents.usage import Usage
from hypothesis import strategies as st
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails


@dataclass(frozen=True, slots=True)
class Created:
    """The n-th branch that the sequence created, counted around; the newest is -1."""

    number: int


Branch = str | Created | None
Call = tuple[str, tuple[Any, ...]]
"""A public method, and its positional arguments."""

FAVOURITES = ("Rome", "rome", "é", "É", "100%", "_")
"""Words that are written and searched for so often that they meet."""

WORDS = (
    *(
        "Rome",
        "rome",
        "ROME",
        " ",
        "a_b",
        "100%",
        "%",
        "_",
        "\\",
        "\\u00e9",
        "\\\\",
        '"',
        "'",
        "/",
        "{",
        "null",
        "text",
    ),
    *(
        "é",
        "É",
        "e\u0301",
        "😀",
        "\U0001d518",
        "工具",
        "\u017f",
        "\u212a",
        "İ",
        "\x00",
        "\x1f",
        "\x7f",
        "\n",
        "\u2028",
        "!",
    ),
)
LONG = "The quick brown fox jumps over the lazy dog. " * 4

words = st.one_of(st.sampled_from(FAVOURITES), st.sampled_from(WORDS))
joined_words = st.lists(words, max_size=4).map("".join)
searches = st.one_of(st.sampled_from(FAVOURITES), words, words, joined_words, st.text(max_size=2))
texts = st.one_of(
    *(joined_words, joined_words, joined_words),
    *(st.just(LONG), st.text(max_size=6), st.just("half of a pair: \ud83d")),
)

numbers = st.one_of(
    st.integers(-3, 3),
    st.sampled_from((2**53 + 1, 2**63, 2**64, 2**64 + 1, -(2**70), 10**40)),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from((0.1, -0.0, 1e300, 5e-324)),
)
leaves = st.one_of(st.none(), st.booleans(), numbers, texts)
values = st.one_of(
    leaves, st.lists(leaves, max_size=3), st.dictionaries(joined_words, st.lists(leaves, max_size=2), max_size=2)
)

names = st.sampled_from(("look_up", "Look_Up", "a.b", "工具", "look up", "", None, 7, True, 1.5))
namespaces = st.sampled_from(("look_up", "files", "", None, 7))
labels = st.sampled_from(("files", "a.b", "", None, 3))
call_ids = st.sampled_from(("call_1", "call_2"))


Fields = dict[str, st.SearchStrategy[Any]]


def _item(kind: str, *, optional: Fields | None = None, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    required: Fields = {"type": st.just(kind), **fields}
    return st.fixed_dictionaries(required, optional=optional or {})


_parts = st.lists(
    st.one_of(
        st.fixed_dictionaries({"type": st.just("input_text"), "text": texts}),
        st.fixed_dictionaries({"type": st.just("input_image"), "image_url": texts}),
        joined_words,
    ),
    max_size=3,
)
users: st.SearchStrategy[Any] = st.one_of(
    st.fixed_dictionaries({"role": st.just("user"), "content": texts}),
    st.fixed_dictionaries({"role": st.just("user"), "content": texts}),
    st.fixed_dictionaries({"role": st.just("user"), "content": _parts}),
    _item("message", role=st.just("user"), content=texts, optional={"extra": values}),
    st.just({"role": "user"}),
)
_others: tuple[st.SearchStrategy[Any], ...] = (
    _item("message", role=st.just("assistant"), content=st.lists(_item("output_text", text=texts), max_size=2)),
    st.fixed_dictionaries({"role": st.sampled_from(("assistant", "system", "developer")), "content": texts}),
    _item("function_call", call_id=call_ids, arguments=texts, optional={"name": names, "namespace": namespaces}),
    _item("function_call_output", call_id=call_ids, output=values),
    _item("mcp_call", id=call_ids, optional={"server_label": labels, "name": names, "namespace": namespaces}),
    _item("mcp_approval_request", id=call_ids, optional={"server_label": labels, "name": names}),
    _item("shell_call", call_id=call_ids, optional={"name": names}),
    _item("apply_patch_call", call_id=call_ids, operation=values),
    st.sampled_from(("web_search_call", "computer_call", "file_search_call", "code_interpreter_call")).flatmap(
        lambda kind: _item(kind, id=call_ids)
    ),
    _item("tool_search_call", id=call_ids),
    _item("tool_search_output", id=call_ids),
    _item("custom_tool_call", call_id=call_ids, input=texts, optional={"name": names, "namespace": namespaces}),
    _item("tool_call", optional={"name": names}),
    _item("reasoning", id=call_ids, summary=st.lists(values, max_size=2)),
    st.sampled_from(({}, {"type": None}, {"type": ""}, {"type": 5}, {"type": "rare"}, {"name": "look_up"})),
    st.dictionaries(joined_words, values, max_size=3),
    values,
)
_items = st.one_of(users, users, users, *_others)


@st.composite
def items(draw: st.DrawFn) -> Any:
    """An item of any kind.

    It is a composite because hypothesis names those in its messages, and spells out others.
    """
    return draw(_items)


batches = st.lists(items(), max_size=4)

TOOL_ITEMS: tuple[Any, ...] = (
    {"role": "user", "content": "next turn"},
    {"type": "tool_search_call", "id": "1"},
    {"type": "tool_search_output", "id": "1"},
    {"type": "function_call", "call_id": "1", "name": "look_up", "arguments": "{}"},
    {"type": "function_call", "call_id": "1", "name": "look_up", "namespace": "look_up", "arguments": "{}"},
    {"type": "function_call", "call_id": "1", "name": "look_up", "namespace": "files", "arguments": "{}"},
    {"type": "mcp_call", "id": "1", "server_label": "files", "name": "look_up"},
    {"type": "mcp_approval_request", "id": "1", "server_label": "files"},
    {"type": "shell_call", "call_id": "1"},
    {"type": "web_search_call", "id": "1"},
)
tools = st.lists(st.sampled_from(TOOL_ITEMS), min_size=3, max_size=8)
turns = st.lists(
    texts.flatmap(
        lambda text: st.sampled_from(([], [{"role": "assistant", "content": text}])).map(
            lambda answer: [{"role": "user", "content": text}, *answer]
        )
    ),
    min_size=2,
    max_size=4,
).map(lambda parts: [item for part in parts for item in part])

limits = st.one_of(st.none(), st.sampled_from((0, -1, -7, 1, 2, 3, 5, 10_000)))
turn_numbers = st.sampled_from((1, 2, 2, 2, 3, 3, 4, -1, 0, 9, 10_000))

BRANCH_NAMES = ("alt", "Alt", "it's 100% _\\ 😀")
TOO_LONG = "x" * 257
"""Longer than turntree's names are: no branch has it, whoever is asked."""

new_names: st.SearchStrategy[str | None] = st.sampled_from((None, None, None, *BRANCH_NAMES, "main", "", " \t"))
created = st.integers(-1, 3).map(Created)
branches: st.SearchStrategy[Branch] = st.one_of(
    *(created, created, st.just("main"), st.sampled_from((*BRANCH_NAMES, "never", "", " ", TOO_LONG)))
)
branches_or_current: st.SearchStrategy[Branch] = st.one_of(st.none(), st.none(), branches)

_counts = st.one_of(st.integers(0, 9), st.sampled_from((None, 2**40)))
_run_usages = st.builds(
    lambda requests, tokens, cached, reasoning: Usage(
        requests=requests,
        input_tokens=tokens,
        output_tokens=tokens,
        total_tokens=2 * tokens,
        input_tokens_details=InputTokensDetails(cached_tokens=cached, cache_write_tokens=0),
        output_tokens_details=OutputTokensDetails(reasoning_tokens=reasoning),
    ),
    *(st.integers(0, 2**40) for _ in range(4)),
)
_details = st.one_of(
    st.none(),
    st.dictionaries(st.sampled_from(("cached_tokens", "工具", "a")), values, max_size=2).map(
        lambda fields: SimpleNamespace(**fields)
    ),
    st.builds(lambda: SimpleNamespace(cannot_be=object())),
)
_odd_usages = st.builds(
    lambda *fields: SimpleNamespace(
        **dict(
            zip(
                (
                    *("requests", "input_tokens", "output_tokens", "total_tokens"),
                    *("input_tokens_details", "output_tokens_details"),
                ),
                fields,
                strict=True,
            )
        )
    ),
    *(_counts, _counts, _counts, _counts, _details, _details),
)
_usages = st.one_of(_run_usages, _run_usages, _odd_usages, st.none())


@st.composite
def results(draw: st.DrawFn) -> SimpleNamespace:
    """What `store_run_usage` reads of a run's result."""
    return SimpleNamespace(context_wrapper=SimpleNamespace(usage=draw(_usages)))


def call(method: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Call]:
    """A call with drawn arguments."""
    return st.tuples(st.just(method), st.tuples(*arguments))


reads = st.one_of(
    call("get_items", limits, branches_or_current),
    call("get_items", limits, branches_or_current),
    call("list_branches"),
    call("get_conversation_turns", branches_or_current),
    call("get_conversation_by_turns", branches_or_current),
    call("get_tool_usage", branches_or_current),
    call("get_session_usage", branches_or_current),
    call("get_turn_usage", st.one_of(st.none(), turn_numbers), branches_or_current),
)
ordered_calls = st.one_of(
    call("add_items", batches),
    call("add_items", turns),
    call("store_run_usage", results()),
    call("pop_item"),
    call("delete_branch", branches),
)
"""What one session object does in the order it was asked to, however much is in flight."""

_late_call = st.one_of(
    call("get_items", st.none(), st.just("main")),
    call("create_branch_from_turn", st.sampled_from((1, 9)), new_names),
    call("create_branch_from_content", searches, new_names),
    call("switch_to_branch", branches),
    call("add_items", turns),
    call("store_run_usage", results()),
    call("pop_item"),
    call("list_branches"),
)
_delete_newest = call("delete_branch", st.just(Created(-1)), st.booleans())
late_calls = st.one_of(
    st.lists(_late_call, max_size=2),
    st.tuples(_late_call, _delete_newest).map(list),
    st.tuples(_delete_newest, _late_call).map(list),
)
"""What a session object may do before it knows that another one cleared the session."""
