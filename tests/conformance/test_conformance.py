"""Every client answers every case alike, and as the case says."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from turntree.errors import ErrorReason

from tests.conformance.cases import FOLDER, Case, Values, method_of, read_cases
from tests.conformance.program import Program
from tests.support.rpc import RPCS
from tests.support.server_process import ServerProcess
from tests.support.toolchains import require_toolchain

LANGUAGES = ("go", "java", "python", "rust", "typescript")
ACCEPTED = json.loads(FOLDER.with_name("accepted_failures.json").read_text())
CASES = read_cases()
CASES_MIN = 120

_numbers = itertools.count(1)


class Bench:
    """The servers that cases are played against, and the running programs of the clients."""

    def __init__(self, folder: Path) -> None:
        refusing = (sys.executable, "-m", "tests.conformance.refusing")
        self.real = ServerProcess.start(folder / "real.db")
        self._servers = {"real": self.real, "refusing": ServerProcess.start(folder / "none.db", command=refusing)}
        self._programs: dict[tuple[str, str], Program] = {}

    def program(self, language: str, server: str) -> Program:
        """The program of a language that talks to one of the servers."""
        if (language, server) not in self._programs:
            require_toolchain(language)
            self._programs[language, server] = Program(language, self._servers[server].address)
        return self._programs[language, server]

    def end(self) -> None:
        """End everything, in good order where there is one."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._servers["refusing"].kill)
            stack.callback(self.real.kill)
            stack.callback(self.real.stop)
            for program in self._programs.values():
                stack.callback(program.end)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One real server for all clients and cases."""
    bench = Bench(tmp_path_factory.mktemp("conformance"))
    yield bench
    bench.end()


def play(case: Case, language: str, bench: Bench) -> list[str]:
    """Play a case through a client, and return where its answers are not the expected ones."""
    program = bench.program(language, case.server)
    values = Values(f"{language} {case.file} {next(_numbers)}")
    calls: dict[str, str] = {}
    differences: list[str] = []
    for number, step in enumerate(case.steps, 1):
        if step.get("restart"):
            bench.real.kill()
            bench.real.start_again()
            continue
        sent: dict[str, Any] = {key: value for key, value in step.items() if key != "expect"}
        if "call" in step:
            sent["request"] = values.request(step["call"], step["request"])
            calls[step.get("start", "")] = step["call"]
        answer = program.play(sent)
        call = step.get("call") or calls.get(step.get("next", ""), "")
        path = f"step {number}"
        if "unsupported" in answer:
            return [f"{path} is not supported: {answer['unsupported']}"]
        if "response" in answer:
            answer["response"] = values.response(call, answer["response"])
        if "responses" in answer:
            answer["responses"] = [values.response(call, response) for response in answer["responses"]]
        expected = step.get("expect", {} if "call" not in step or "start" in step else {"response": {}})
        if "error" not in expected and "error" in answer:
            differences.append(f"{path} failed: {answer['error']}")
        differences += values.differences(expected, answer, path)
    return differences


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("language", LANGUAGES)
def test_case(language: str, case: Case, bench: Bench) -> None:
    """A client answers a case as it says."""
    differences = play(case, language, bench)
    if f"{language}: {case}" in ACCEPTED:
        assert differences, "an accepted failure does not fail"
    else:
        assert not differences, "\n".join(differences)


def test_there_are_cases_of_every_rpc() -> None:
    """No RPC is left out, and names tell cases apart."""
    called = {method_of(step["call"]).name for case in CASES for step in case.steps if "call" in step}
    assert called == set(RPCS)
    assert len({str(case) for case in CASES}) == len(CASES) >= CASES_MIN


def test_there_are_cases_of_every_reason() -> None:
    """Every reason that a server gives is seen by every client."""
    expected = {
        step["expect"]["error"]["reason"]
        for case in CASES
        for step in case.steps
        if "error" in step.get("expect", {}) and "reason" in step["expect"]["error"]
    }
    assert expected >= {reason.value for reason in ErrorReason}


def test_nothing_else_is_accepted() -> None:
    """What is accepted as a failure names a case and a language that there are."""
    assert set(ACCEPTED) <= {f"{language}: {case}" for language in LANGUAGES for case in CASES}


def test_a_wrong_answer_is_noticed() -> None:
    """The comparison sees a wrong value, a missing one, an unwanted one, and a wrong number of elements."""
    values = Values("s")
    answer = {"turn": "2", "items": ["e30="], "branch": {"branch_id": "main"}, "more": False}
    wrong: list[dict[str, Any]] = [
        {"turn": 3},
        {"cursor": {"$any": True}},
        {"branch": {"$absent": True}},
        {"items": []},
        {"items": [{"$item": {"a": 1}}]},
        {"items": {"$length": 2}},
        {"more": True},
        {"branch": {"branch_id": "other"}},
    ]
    for expected in wrong:
        assert len(list(values.differences(expected, answer, ""))) == 1, expected
    right = {"turn": 2, "items": [{"$text": "{}"}], "branch": {"branch_id": "main", "x": {"$absent": True}}}
    assert not list(values.differences(right, answer, ""))
