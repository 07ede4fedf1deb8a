# SPDX-License-Identifier: Apache-2.0
"""The typer application over the table of commands, loading each command when it is called for."""

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

from virtio_crq.cli.commands import COMMANDS, Command

EPILOG = (
    "Examples: virtio-crq up machine.toml --detach · virtio-crq show · virtio-crq trace web1 --one · virtio-crq down"
)


class LazyGroup(TyperGroup):
    """Help and completion read the table; only the command that runs is imported."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        wanted = {command.name: command for command in COMMANDS}
        if args and args[0] in wanted:
            self.commands[args[0]] = _loaded(wanted[args[0]])
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        return [command.name for command in COMMANDS if command.name in self.commands]


def _loaded(command: Command) -> Any:
    target = command.load()
    if isinstance(target, typer.Typer):
        target.info.help = target.info.help or command.summary
        group = typer.main.get_group(target)
        group.name = command.name
        return group
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(command.name)(target)
    return typer.main.get_command(single)


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
    pretty_exceptions_enable=False,
)


@app.callback()
def _options() -> None:
    """Only groups of commands have options here; a callback keeps this a group even with one command."""


for _command in COMMANDS:
    app.command(_command.name, help=_command.summary, hidden=_command.hidden)(_placeholder())
