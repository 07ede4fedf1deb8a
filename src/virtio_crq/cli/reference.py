# SPDX-License-Identifier: Apache-2.0
"""The reference of commands, `docs/reference/commands.md`, from the application itself.

Renew it by: python -m virtio_crq.cli.reference > docs/reference/commands.md
"""

from collections.abc import Iterator
from typing import Any

from virtio_crq.cli.application import loaded
from virtio_crq.cli.commands import COMMANDS

HEAD = """# Commands

Made from the commands themselves by `python -m virtio_crq.cli.reference`; a test holds the two together.

Every command answers `--help`. What a person got wrong is one line and status 2; what failed otherwise is status 1.
So is a command line that is not understood (a missing argument, an unknown option); it names the help to read.
`--json` gives programs what people read as a table. Nothing but text goes into a pipe: colours and progress bars need
a terminal. While one machine is up, `--machine NAME` may be left out. State is in
`$XDG_RUNTIME_DIR/virtio-crq/MACHINE/`, without that variable in `/tmp/virtio-crq-UID/MACHINE/`.
`virtio-crq --install-completion` teaches your shell the commands.
"""


def render() -> str:
    """The whole page."""
    parts = [HEAD]
    for command in COMMANDS:
        if not command.hidden:
            parts += _sections(f"virtio-crq {command.name}", loaded(command))
    return "\n".join(parts)


def _sections(path: str, command: Any) -> Iterator[str]:
    verbs = getattr(command, "commands", None)
    if verbs is None or command.invoke_without_command:
        yield _section(path, command)
    if verbs is None:
        return
    for name, verb in verbs.items():
        if not verb.hidden:
            yield _section(f"{path} {name}", verb)


def _section(path: str, command: Any) -> str:
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    options = [param for param in command.params if param.param_type_name == "option" and "--help" not in param.opts]
    words = [param.metavar if param.required else f"[{param.metavar}]" for param in arguments]
    words += [f"{option.opts[0]} {option.metavar}" for option in options if option.required]
    text, _, examples = command.help.replace("\b\n", "").partition("Example")
    lines = [f"## `{' '.join([path, *words])}`", "", text.strip(), ""]
    if arguments or options:
        lines += ["| | |", "|---|---|"]
        lines += [f"| `{param.metavar}` | {param.help} |" for param in arguments]
        lines += [f"| {_names(option)} | {option.help}{_default(option)} |" for option in options]
        lines.append("")
    lines += ["```sh", *(line.strip() for line in examples.splitlines()[1:]), "```", ""]
    return "\n".join(lines)


def _names(option: Any) -> str:
    value = "" if option.is_flag else f" {option.metavar}".replace("|", "\\|")  # or it would end the table's cell
    return ", ".join(f"`{name}{value if name.startswith('--') else ''}`" for name in option.opts)


def _default(option: Any) -> str:
    shown = option.default not in (None, "") and not option.is_flag and not option.multiple
    return f" Default {option.default}." if shown and isinstance(option.default, int | float | str) else ""


if __name__ == "__main__":
    print(render(), end="")
