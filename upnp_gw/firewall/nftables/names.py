"""The ids of the forwards of one place, oldest first. Nearly every place has one forward, and needs no tuple."""

Names = str | tuple[str, ...]


def listed(names: Names | None) -> tuple[str, ...]:
    """The names as a tuple; None: there are none."""
    if names is None:
        return ()
    return (names,) if isinstance(names, str) else names


def with_name(names: Names | None, name: str) -> Names:
    """The names and this one, which comes last unless it is there already."""
    if names is None or names == name:
        return name
    present = listed(names)
    return present if name in present else (*present, name)


def without_name(names: Names | None, name: str) -> Names | None:
    """The names without this one; None: none is left."""
    left = tuple(other for other in listed(names) if other != name)
    return left[0] if len(left) == 1 else left or None
