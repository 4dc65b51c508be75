"""Generates the Python code of the protos, proves that what is checked in is fresh, and lints the protos.

Usage: generate.py generate | fresh | lint
"""

import filecmp
import subprocess
import sys
import tempfile
from pathlib import Path

import google.api.field_behavior_pb2
import grpc_tools

PROTOS = Path(__file__).parent
PYTHON_CLIENT = PROTOS.parent / "clients" / "python"
PACKAGE = Path("turntree") / "v1"
BIN = Path(sys.executable).parent


def protoc(*options: str) -> None:
    """Run protoc over every proto of turntree."""
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    googleapis = Path(google.api.field_behavior_pb2.__file__).parents[2]
    includes = [f"--proto_path={path}" for path in (PROTOS, well_known, googleapis)]
    plugins = [f"--plugin=protoc-gen-{name}={BIN / f'protoc-gen-{name}'}" for name in ("mypy", "mypy_grpc")]
    sources = [str(path) for path in sorted((PROTOS / PACKAGE).glob("*.proto"))]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *includes, *plugins, *options, *sources], check=True)


def generate(root: Path) -> Path:
    """Generate into `root` and return the folder of the generated package."""
    protoc(
        f"--python_out={root}", f"--grpc_python_out={root}", f"--mypy_out=quiet:{root}", f"--mypy_grpc_out=quiet:{root}"
    )
    package = root / PACKAGE
    (package / "__init__.py").write_text('"""Generated from protos/turntree/v1 by `make proto`."""\n')
    return package


def fresh() -> None:
    """Exit with a message unless the code that is checked in is exactly what the protos give."""
    with tempfile.TemporaryDirectory() as folder:
        made = generate(Path(folder))
        kept = PYTHON_CLIENT / PACKAGE
        names = {path.name for root in (made, kept) for path in root.iterdir() if path.is_file()}
        _, changed, missing = filecmp.cmpfiles(made, kept, names, shallow=False)
    if changed or missing:
        sys.exit(f"not what the protos give: {', '.join(sorted(changed + missing))}; run `make proto`")


def lint() -> None:
    """Run `buf lint` over the protos and what they import."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.binpb"
        protoc(f"--descriptor_set_out={image}", "--include_imports", "--include_source_info")
        config = PROTOS.parent / "buf.yaml"
        subprocess.run([BIN / "buf", "lint", str(image), "--config", str(config)], check=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["generate"]:
            generate(PYTHON_CLIENT)
        case ["fresh"]:
            fresh()
        case ["lint"]:
            lint()
        case _:
            sys.exit(__doc__)
