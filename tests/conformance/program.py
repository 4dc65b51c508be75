"""A client's conformance program, as a process that is asked a step and answers it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from typing import Any

from tests.support.toolchains import CLIENTS

ANSWERED_WITHIN_S = 60


class Program:
    """One running program, `clients/LANGUAGE/conformance/run URL`."""

    def __init__(self, language: str, url: str) -> None:
        self._process = subprocess.Popen(
            [CLIENTS / language / "conformance" / "run", url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHON": sys.executable},
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def play(self, step: dict[str, Any]) -> Any:
        """Play one step and return its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(step) + "\n")
        self._process.stdin.flush()
        try:
            line = self._lines.get(timeout=ANSWERED_WITHIN_S)
        except queue.Empty:
            raise AssertionError(f"no answer in {ANSWERED_WITHIN_S} s to {step}") from None
        assert line, f"the program ended, and left unanswered {step}"
        return json.loads(line)

    def end(self) -> None:
        """Close its stdin, and insist that it ends in good order."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            code = self._process.wait(ANSWERED_WITHIN_S)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            self._process.stdout.close()
        assert code == 0, f"the program exited with {code}"
