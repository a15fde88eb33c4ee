"""The lower bounds of pyproject.toml as pip's constraints: every `name>=1.2` becomes `name==1.2` (`make test-minimum`).

A bound has to be a release. Requirements without one (tools of the extra `dev`) are left to pip.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path


PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
_BOUNDED = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?>=(?P<version>[0-9][0-9.]*)")
_PIN = re.compile(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.+]*")


def lower_bounds(requirements: list[str]) -> dict[str, str]:
    """
    The lower bound of each requirement that has one.

    Args:
        requirements (`list[str]`): As in pyproject.toml: `name`, `name[extra]` or `name>=version`.

    Returns:
        `dict[str, str]`: Version by name, in the order of `requirements`.

    Raises:
        ValueError: If a requirement is bounded in another way, or twice.
    """
    bounds: dict[str, str] = {}
    for requirement in requirements:
        if re.fullmatch(r"[A-Za-z0-9._-]+(\[[^]]*\])?", requirement):
            continue
        match = _BOUNDED.fullmatch(requirement)
        if match is None:
            raise ValueError(f"pyproject.toml requires {requirement!r}: write it as 'name>=version'")
        name, version = match["name"], match["version"]
        if bounds.setdefault(name, version) != version:
            raise ValueError(f"pyproject.toml gives {name} two bounds: {bounds[name]} and {version}")
    return bounds


def project_requirements(pyproject: Path = PYPROJECT) -> list[str]:
    """All requirements of a project, those of its extras included."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    return [*project["dependencies"], *(requirement for extra in extras.values() for requirement in extra)]


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--instead",
        metavar="NAME==VERSION",
        action="append",
        default=[],
        help="this release in place of the bound, where the index of a machine does not have the bound; it is said on stderr",
    )
    return parser


def main(arguments: list[str] | None = None) -> None:
    parser = make_parser()
    args = parser.parse_args(arguments)
    bounds = lower_bounds(project_requirements())
    for pin in args.instead:
        if not _PIN.fullmatch(pin):
            parser.error(f"--instead {pin}: write it as NAME==VERSION")
        name, version = pin.split("==")
        if name not in bounds:
            parser.error(
                f"--instead {pin}: pyproject.toml has no bound of {name}, only of {', '.join(sorted(bounds))}"
            )
        print(f"{name}: {version} in place of the bound {bounds[name]}", file=sys.stderr)
        bounds[name] = version
    for name, version in bounds.items():
        print(f"{name}=={version}")


if __name__ == "__main__":
    main()
