"""`TS_VISIBLE_DEVICES`: which GPUs a queue may use, by index or UUID, separated by commas."""

from collections.abc import Iterable

KINDS = ("GPU-", "MIG-")


class VisibleError(Exception):
    """The variable is invalid. The text is one short line."""


def check(text: str | None) -> None:
    """Raises VisibleError for an entry that can be neither an index nor the beginning of a UUID."""
    for entry in _entries(text):
        index = entry.isascii() and entry.isdigit()
        if not index and not any(kind.startswith(entry[:4].upper()) for kind in KINDS):
            raise VisibleError(f"TS_VISIBLE_DEVICES: '{entry[:16]}' is neither an index nor a UUID")


def visible(text: str | None, devices: Iterable[tuple[int, str]]) -> set[int]:
    """The indices of the allowed ones of the devices (index, UUID): all if the variable is unset or empty.

    A UUID can be shortened as long as only one device begins with it. An entry that matches no device, or several,
    allows none.
    """
    devices = list(devices)
    if not (text or "").strip():
        return {index for index, _ in devices}
    found: set[int] = set()
    for entry in _entries(text):
        if entry.isdigit():
            found |= {index for index, _ in devices if index == int(entry)}
            continue
        matches = [index for index, uuid in devices if uuid.upper().startswith(entry.upper())]
        if len(matches) == 1:
            found.add(matches[0])
    return found


def _entries(text: str | None) -> list[str]:
    return [entry.strip() for entry in (text or "").split(",") if entry.strip()]
