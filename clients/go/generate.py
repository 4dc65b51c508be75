"""Generates the Go code of the protos: generate.py PLUGINS FOLDER, where PLUGINS holds protoc-gen-go and -go-grpc."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "turntree/turntreepb"

sys.path.insert(0, str(ROOT / "protos"))
import generate  # noqa: E402 - the path is known only now

plugins, folder = sys.argv[1:]
names = [f"turntree/v1/{path.name}" for path in sorted((ROOT / "protos/turntree/v1").glob("*.proto"))]
options = [f"--{kind}_opt=module={PACKAGE}" for kind in ("go", "go-grpc")]
options += [f"--{kind}_opt=M{name}={PACKAGE}" for kind in ("go", "go-grpc") for name in names]
options += [f"--plugin=protoc-gen-{kind}={plugins}/protoc-gen-{kind}" for kind in ("go", "go-grpc")]
generate.protoc(*options, f"--go_out={folder}", f"--go-grpc_out={folder}")
