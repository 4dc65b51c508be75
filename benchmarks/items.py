"""Items like those of real conversations: seeded, and no two texts alike."""

from __future__ import annotations

import json
import random
import string
from functools import cache
from typing import Any

Item = dict[str, Any]

ITEMS_A_TURN = 4

_VOCABULARY_WORDS = 8_000
_WORD_BYTES_MEAN = 6.5  # with the space after it


class ItemWriter:
    """Writes turns of four items: what a user said, a tool call, its output and the answer, of 0.2 to 4 KB each."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(f"turntree {seed}")
        self._words = _vocabulary()

    def turn(self) -> list[Item]:
        """One turn."""
        call_id = f"call_{self._random.getrandbits(96):024x}"
        arguments = {"query": self._text(80, 400), "limit": self._random.randrange(100)}
        output = {"status": "ok", "results": [self._text(40, 900) for _ in range(self._random.randint(2, 4))]}
        return [
            {"role": "user", "content": self._text(200, 1_000)},
            {
                "type": "function_call",
                "id": f"fc_{self._random.getrandbits(96):024x}",
                "call_id": call_id,
                "name": self._random.choice(("search_orders", "read_document", "run_query", "send_message")),
                "arguments": json.dumps(arguments),
                "status": "completed",
            },
            {"type": "function_call_output", "call_id": call_id, "output": json.dumps(output)},
            {
                "type": "message",
                "id": f"msg_{self._random.getrandbits(96):024x}",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": self._text(300, 3_000), "annotations": []}],
            },
        ]

    def history(self, items: int) -> list[Item]:
        """So many items in whole turns, and the beginning of one more if they do not come out even."""
        history: list[Item] = []
        while len(history) < items:
            history += self.turn()
        return history[:items]

    def _text(self, bytes_min: int, bytes_max: int) -> str:
        size = self._random.randint(bytes_min, bytes_max)
        words = self._random.choices(self._words, k=int(size / _WORD_BYTES_MEAN))
        return " ".join(words).capitalize() + "."


def payload(item: Item) -> bytes:
    """An item as it goes over the wire and into the database."""
    return json.dumps(item).encode()


@cache
def _vocabulary() -> list[str]:
    chance = random.Random("words")
    return ["".join(chance.choices(string.ascii_lowercase, k=chance.randint(2, 9))) for _ in range(_VOCABULARY_WORDS)]
