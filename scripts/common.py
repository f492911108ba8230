"""Lists of names as options."""


def split_names(option: str) -> list[str]:
    """Names of a comma-separated option; none of an empty one."""
    return [name for name in option.split(",") if name]
