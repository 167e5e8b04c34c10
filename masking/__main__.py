"""The command `masking`, also as `python -m masking`."""

from __future__ import annotations

from masking.loading import loading


def main() -> None:
    """Load the command line, and run what it says."""
    with loading():
        from masking.cli import main as run
    run()


if __name__ == "__main__":
    main()
