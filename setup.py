# SPDX-License-Identifier: Apache-2.0
"""Builds the extensions: every `.py` that has a `.pxd` beside it, and the hypercall engine behind its binding."""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

SOURCE = Path("src")
ENGINE = sorted(str(path) for path in SOURCE.glob("virtio_crq/hypervisor/engine/*.c"))
# The engine is linked into these bindings; `_stops` is the test build with stop points compiled in.
ENGINE_BINDINGS = {"virtio_crq.hypervisor.binding": [], "virtio_crq.hypervisor.binding_stops": [("STOP_POINTS", "1")]}
DIRECTIVES = {
    "language_level": "3",
    "annotation_typing": False,  # annotations are for people and mypy; C types stand in the .pxd
    "boundscheck": True,
    "wraparound": False,
    "initializedcheck": True,
    "embedsignature": True,
}


def extensions() -> list[Extension]:
    found = []
    for pxd in sorted(SOURCE.glob("virtio_crq/**/*.pxd")):
        path = pxd.with_suffix(".py")
        if not path.exists():
            continue
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        sources = [str(path), *(ENGINE if name in ENGINE_BINDINGS else [])]
        found.append(
            Extension(
                name,
                sources,
                include_dirs=["src/virtio_crq/platform", "src/virtio_crq/hypervisor/engine", "src/virtio_crq/bench"],
                depends=[str(p) for p in SOURCE.glob("virtio_crq/**/*.h")]
                + [str(p) for p in SOURCE.glob("virtio_crq/**/*.pxd")],
                define_macros=ENGINE_BINDINGS.get(name, []),
                extra_compile_args=["-O2", "-g1", "-fno-strict-aliasing"],
            )
        )
    return found


setup(
    ext_modules=cythonize(extensions(), compiler_directives=DIRECTIVES, nthreads=2, build_dir="build/cython"),
    options={"build_ext": {"parallel": 2}},
)
