"""Generates `annals.v1` from the contract, whenever the package is built."""

from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc
from setuptools import setup

here = Path(__file__).parent
contract = here.parent.parent / "proto"
if not contract.is_dir():
    raise SystemExit(f"{contract} is missing: build this package in a checkout of Annals")
(here / "annals" / "v1").mkdir(exist_ok=True)
(here / "annals" / "v1" / "__init__.py").touch()
folders = [f"-I{contract}", f"-I{files('grpc_tools') / '_proto'}"]
outputs = [f"--{kind}_out={here}" for kind in ("python", "pyi", "grpc_python")]
protos = sorted(str(path) for path in contract.glob("annals/v1/*.proto"))
if protoc.main(["protoc", *folders, *outputs, *protos]) != 0:
    raise SystemExit("the contract could not be generated")

setup()
