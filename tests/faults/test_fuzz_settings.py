"""Whatever an operator writes on the command line: settings, or one clear word about what is wrong."""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import pytest
from turntree_server.settings import Settings

from tests.faults.fuzz_configuration import read, serve_parser
from tests.faults.report import tallied
from tests.faults.rounds import FUZZ_S, new_seed, rounds

VALUES = (
    *(
        "",
        " ",
        "0",
        "1",
        "-1",
        "0.5",
        "nan",
        "inf",
        "-inf",
        "1e400",
        "9" * 30,
        "1_000",
        "x",
        "\0",
        "\ud800",
        "\U0001f333",
    ),
    *("127.0.0.1:0", "0.0.0.0:1", "[::1]:0", "localhost:65536", "h:99999999999", ":1", "a:b:c", "::", "x" * 5000),
    *("RS256", "none", "HS256,none", ",", "https://issuer.test/keys", "http://issuer.test", "file.json", "../..", "/"),
)


def any_line(parser: argparse.ArgumentParser, rng: random.Random) -> list[str]:
    """A command line with some of the options, and values that are right for one of them or for none."""
    line = []
    for action in rng.sample(parser._actions[1:], rng.choice((1, 1, 2, 3, 6))):
        option = rng.choice(action.option_strings)
        line.append(option if action.nargs == 0 else f"{option}={rng.choice(VALUES)}")
    return line


def test_random_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Any command line gives settings, or is refused with the name of an option and what is right for it."""
    monkeypatch.chdir(tmp_path)
    seed = new_seed()
    rng = random.Random(seed)
    parser = serve_parser()
    options = {option for action in parser._actions for option in action.option_strings}
    end = time.monotonic() + rounds(0.0, FUZZ_S)
    accepted = 0
    with tallied("random settings", seed) as tally:
        while tally.rounds == 0 or time.monotonic() < end:
            for _ in range(rounds(500, 10_000)):
                line = any_line(parser, rng)
                result = read(parser, line)
                accepted += isinstance(result, Settings)
                assert isinstance(result, Settings) or result in options, (line, result)
                tally.rounds += 1
    assert 0 < accepted < tally.rounds
    assert not list(tmp_path.iterdir())
