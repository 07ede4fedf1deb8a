# SPDX-License-Identifier: Apache-2.0
"""The typer application over the table of commands, loading each command when it is called for."""

import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from virtio_crq.cli.commands import COMMANDS, Command
from virtio_crq.errors import UsageError

Misuse = cast("type[Any]", typer.BadParameter.__base__)  # an error of the CLI library, whose module is its own affair
INTERRUPTED = 130  # 128 and SIGINT
EPILOG = """\b
Examples:
  virtio-crq up machine.toml --detach
  virtio-crq vios lsmap
  virtio-crq trace web1/root --one
  virtio-crq down
"""


class LazyGroup(TyperGroup):
    """Help and completion read the table; only the command that runs is imported."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        wanted = {command.name: command for command in COMMANDS}
        if args and args[0] in wanted:
            self.commands[args[0]] = loaded(wanted[args[0]])
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        return [command.name for command in COMMANDS if command.name in self.commands]


def loaded(command: Command) -> Any:
    """The command as click runs it, imported now."""
    target = command.load()
    if isinstance(target, typer.Typer):
        target.info.help = target.info.help or command.summary
        group = typer.main.get_group(target)
        group.name = command.name
        group.help = keep_lines(group.help)
        if "Example" not in (group.help or ""):
            group.epilog = _examples(group.commands.values())
        for verb in group.commands.values():
            verb.help = keep_lines(verb.help)
        return group
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(command.name)(target)
    lone = typer.main.get_command(single)
    lone.help = keep_lines(lone.help)
    return lone


def _examples(verbs: Iterable[Any]) -> str:
    """The first example of each verb that people see, for the help of their group."""
    shown = (verb.help.partition("Example")[2].splitlines()[1:2] for verb in verbs if not verb.hidden)
    lines = (f"  {line.strip()}" for first in shown for line in first)
    return "\n".join(("\b", "Examples:", *lines))


def keep_lines(text: str | None) -> str | None:
    """Examples are shown as they are typed: click fills every paragraph that does not begin by \\b."""
    return text and re.sub(r"^(?=Examples?:$)", "\b\n", text, flags=re.MULTILINE)


def _placeholder() -> Callable[[], None]:
    def stand_in() -> None:
        """Replaced by the real command before it is called."""

    return stand_in


app = typer.Typer(
    cls=LazyGroup,
    help="virtio for PowerVM: unmodified virtio drivers over CRQ message passing and hypervisor copies.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from virtio_crq.cli.version import version

        version()
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Only groups of commands have options here; a callback keeps this a group even with one command."""


for _command in COMMANDS:
    app.command(_command.name, help=_command.summary, hidden=_command.hidden)(_placeholder())


def run() -> int:
    """The command that was typed; its status. What the CLI library says of a wrong one is one line, as all errors."""
    try:
        return app(prog_name="virtio-crq", standalone_mode=False) or 0
    except typer.Abort:
        return INTERRUPTED
    except Misuse as error:
        if error.ctx is not None and error.format_message() == error.ctx.get_help():
            error.show()  # a group without a verb
            return int(error.exit_code)
        said = error.format_message().rstrip(".")
        help_ = f"; see: {error.ctx.command_path} --help" if error.ctx is not None else ""
        raise UsageError(f"{said[:1].lower()}{said[1:]}{help_}") from None
