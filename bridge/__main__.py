"""`python -m bridge`: the administrator's commands and those of development."""

from __future__ import annotations

import sys

from bridge import cli
from bridge.dev.commands import COMMANDS


def main() -> int:
    """Entry point of the `colloque` script too."""
    return cli.main(more=COMMANDS)


if __name__ == "__main__":
    sys.exit(main())
