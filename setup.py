# SPDX-License-Identifier: Apache-2.0
"""Builds the extensions: every `.py` that has a `.pxd` beside it, and the hypercall engine behind its binding."""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

SOURCE = Path("src")
ENGINE = sorted(str(path) for path in SOURCE.glob("virtio_crq/hypervisor/engine/*.c"))
BINDING = "virtio_crq.hypervisor.binding"
# What every compiled module needs of Cython's own (memoryviews above all): compiled once instead of once a module,
# which halves the time of a build.
SHARED = "virtio_crq.cythonruntime"
# Sources of `binding_stops`: the same binding over an engine with its stop points compiled in.
STOPS = Path("build/stops/virtio_crq/hypervisor")
# What QEMU loads: the plugin over an engine of its own.
PLUGIN = "virtio_crq.guests.qemuplugin"
PLUGIN_SOURCES = sorted(str(path) for path in SOURCE.glob("virtio_crq/guests/plugin/*.c"))
PLUGIN_ENGINE = Path("build/plugin")
DIRECTIVES = {
    "language_level": "3",
    "annotation_typing": False,  # annotations are for people and mypy; C types stand in the .pxd
    "boundscheck": True,
    "wraparound": False,
    "initializedcheck": True,
    "embedsignature": True,
}


def extension(name: str, sources: list[str], macros: list[tuple[str, str]]) -> Extension:
    return Extension(
        name,
        sources,
        include_dirs=[f"src/virtio_crq/{part}" for part in ("platform", "dataplane", "hypervisor/engine", "bench")],
        depends=headers(name),
        define_macros=macros,
        extra_compile_args=["-O2", "-g0", "-fno-strict-aliasing"],
    )


def headers(name: str) -> list[str]:
    """The C that a module includes; a changed .pxd is Cython's affair, which then writes the module's C anew."""
    folders = {"platform", name.split(".")[1]} | ({"hypervisor/engine"} if name.startswith(BINDING) else set())
    found = [str(path) for folder in folders for path in SOURCE.glob(f"virtio_crq/{folder}/*.h")]
    return sorted(found) + (ENGINE if name.startswith(BINDING) else [])


def stops_sources() -> list[str]:
    """The binding under its second name; the engine by inclusion, so that each build has its own object files."""
    STOPS.mkdir(parents=True, exist_ok=True)
    for package in (STOPS, STOPS.parent):  # Cython looks for the .pxd by the package's name
        refresh(package / "__init__.py", "")
    binding = SOURCE.joinpath(*BINDING.split("."))
    for suffix in (".py", ".pxd"):
        refresh(STOPS / f"binding_stops{suffix}", binding.with_suffix(suffix).read_text())
    for source in ENGINE:
        refresh(STOPS / f"stops_{Path(source).name}", f'#include "{Path(source).name}"\n')
    return [str(STOPS / "binding_stops.py"), *(str(STOPS / f"stops_{Path(source).name}") for source in ENGINE)]


def plugin_extension() -> Extension:
    """No Python in it; an extension is how a shared object gets beside the package."""
    PLUGIN_ENGINE.mkdir(parents=True, exist_ok=True)
    engine = [PLUGIN_ENGINE / f"plugin_{Path(source).name}" for source in ENGINE]
    for path, source in zip(engine, ENGINE, strict=True):
        refresh(path, f'#include "{Path(source).name}"\n')
    headers_too = [*map(str, SOURCE.glob("virtio_crq/guests/plugin/*.h")), *headers(BINDING)]
    return Extension(
        PLUGIN,
        [*PLUGIN_SOURCES, *map(str, engine)],
        include_dirs=[f"src/virtio_crq/{part}" for part in ("platform", "hypervisor/engine", "guests/plugin")],
        depends=headers_too,
        extra_compile_args=["-O2", "-g0", "-fno-strict-aliasing", "-fvisibility=hidden", "-Wall", "-Wextra"],
    )


def refresh(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def extensions() -> list[Extension]:
    found = []
    for pxd in sorted(SOURCE.glob("virtio_crq/**/*.pxd")):
        path = pxd.with_suffix(".py")
        if not path.exists():
            continue
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        found.append(extension(name, [str(path), *(ENGINE if name == BINDING else [])], []))
    found.append(extension(f"{BINDING}_stops", stops_sources(), [("STOP_POINTS", "1")]))
    found.append(plugin_extension())
    found.append(extension(SHARED, [f"src/{SHARED.replace('.', '/')}.c"], []))
    return found


setup(
    ext_modules=cythonize(
        extensions(),
        compiler_directives=DIRECTIVES,
        shared_utility_qualified_name=SHARED,
        nthreads=2,
        build_dir="build/cython",
    ),
    options={"build_ext": {"parallel": 2}},
)
