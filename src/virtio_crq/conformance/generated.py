# SPDX-License-Identifier: Apache-2.0
"""The parts of the specification that the code's own tables write: state diagrams, message layouts, refusal rules.

They stand between `<!-- generated: NAME -->` and `<!-- end -->`; `virtio-crq spec --regenerate` renews them.
"""

import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import TypeVar

from virtio_crq.errors import UsageError
from virtio_crq.message import codec, session, status
from virtio_crq.message.layout import Body, Fixed, Tail
from virtio_crq.message.refusal import OTHER_RULE, RULES
from virtio_crq.virtio import records

S = TypeVar("S", bound=Enum)
E = TypeVar("E", bound=Enum)

SECTION = re.compile(r"(<!-- generated: ([a-z0-9-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def diagram(table: Mapping[tuple[S, E], S], initial: S) -> str:
    """A mermaid state diagram; an event that leads from every state to one is drawn once, as a note."""
    states = list(type(initial))
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {initial.value}"]
    notes = []
    for event in dict.fromkeys(event for _, event in table):
        sources = {state: table[state, event] for state in states if (state, event) in table}
        targets = set(sources.values())
        if len(sources) >= len(states) - 1 and len(targets) == 1:
            missing = [state.value for state in states if state not in sources]
            exception = f" but {missing[0]}" if missing else ""
            notes.append(f"{event.value}: from every state{exception} to {targets.pop().value}")
        else:
            lines += [f"    {source.value} --> {target.value}: {event.value}" for source, target in sources.items()]
    if notes:
        lines += [f"    note right of {initial.value}", *(f"        {note}" for note in notes), "    end note"]
    return "\n".join([*lines, "```", ""])


def _layout(body: type[Body]) -> str:
    parts = []
    for name, kind in body.wire():
        if isinstance(kind, Fixed):
            parts.append(f"{name} u{8 * kind.size}" if kind.size <= 8 else f"{name} {kind.size} bytes")
        elif isinstance(kind, Tail):
            count = f"[{kind.counted}]" if kind.counted else "[]"
            parts.append(f"{name} u{8 * kind.width}{count}" + (" or none" if kind.optional else ""))
    return ", ".join(parts) or "-"


def messages() -> str:
    """One row per message: identifier, request or event layout, response layout."""
    lines = ["| message | id | kind | payload | response |", "|---|---|---|---|---|"]
    for (bus, msg_id, response), body in sorted(codec.LAYOUTS.items()):
        if response:
            continue
        kind = ("bus " if bus else "") + ("event" if msg_id & 0x40 else "request")
        answer = codec.LAYOUTS.get((bus, msg_id, True))
        lines.append(
            f"| {body.NAME} | {msg_id:#04x} | {kind} | {_layout(body)} | {_layout(answer) if answer else ''} |"
        )
    return "\n".join([*lines, ""])


def rules() -> str:
    """One row per rule that the transport refuses by."""
    lines = ["| rule | code | clause | outcome |", "|---|---|---|---|"]
    lines += [f"| `{rule.name}` | {rule.code} | {rule.clause} | {rule.outcome.value} |" for rule in RULES]
    return "\n".join([*lines, f"| any other | {OTHER_RULE} | of the bus or the device type | |", ""])


def record(fields: tuple[tuple[int, int, str, str], ...]) -> str:
    """One row per field of a record."""
    lines = ["| byte | field | content |", "|---|---|---|"]
    lines += [
        f"| {first}{'' if first == last else f'-{last}'} | {name} | {content} |"
        for first, last, name, content in fields
    ]
    return "\n".join([*lines, ""])


PARTS: dict[str, Callable[[], str]] = {
    "device-status": lambda: diagram(status.TRANSITIONS, status.State.RESET),
    "session-device": lambda: diagram(session.BACK_TRANSITIONS, session.BackState.CLOSED),
    "session-front-end": lambda: diagram(session.FRONT_TRANSITIONS, session.FrontState.CLOSED),
    "messages": messages,
    "rules": rules,
    "request-record": lambda: record(records.REQUEST_FIELDS),
    "completion-record": lambda: record(records.COMPLETION_FIELDS),
}


def regenerate(specification: str) -> str:
    """The text with every generated part renewed."""
    missing = set(PARTS) - {found.group(2) for found in SECTION.finditer(specification)}
    if missing:
        raise UsageError(f"the specification has no place for {', '.join(sorted(missing))}")
    return renewed(specification, PARTS)


def renewed(text: str, parts: Mapping[str, Callable[[], str]]) -> str:
    """Any document, with what stands between its marks made anew."""

    def renew(found: re.Match[str]) -> str:
        if found.group(2) not in parts:
            raise UsageError(f"nothing generates {found.group(2)}")
        return found.group(1) + parts[found.group(2)]() + found.group(3)

    return SECTION.sub(renew, text)
