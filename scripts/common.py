"""What every script needs: lists of names as options, templates."""

from pathlib import Path
from typing import Any


def split_names(option: str) -> list[str]:
    """Names of a comma-separated option; none of an empty one."""
    return [name for name in option.split(",") if name]


def render(template: str, **values: Any) -> str:
    """Fill a template that lies beside the scripts; text in it is escaped."""
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    return str(jinja2.Environment(loader=loader, autoescape=True).get_template(template).render(**values))
