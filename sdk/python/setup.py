"""Compiles the protos into the package while it is built."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent
# In a source distribution the protos lie beside this file; in the repository, at its root.
PROTO = HERE / "proto" if (HERE / "proto").is_dir() else HERE.parents[1] / "proto"
FILES = [
    "attachments",
    "copies",
    "records",
    "subjects",
    "operations",
    "jurisdiction",
    "ledger",
    "region_maps",
    "transit",
]


class Build(build_py):
    def run(self) -> None:
        super().run()
        from grpc_tools import protoc

        out = Path(self.build_lib)
        well_known = Path(protoc.__file__).parent / "_proto"
        arguments = ["protoc", f"-I{PROTO}", f"-I{well_known}"]
        arguments += [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")]
        arguments += [f"bailiwick/v1/{name}.proto" for name in FILES]
        if protoc.main(arguments) != 0:
            raise SystemExit("the protos cannot be compiled")
        (out / "bailiwick/v1/__init__.py").touch()


class Source(sdist):
    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        shutil.copytree(PROTO, Path(base_dir) / "proto")


setup(cmdclass={"build_py": Build, "sdist": Source})
