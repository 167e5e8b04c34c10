"""Keys from a key service, by way of a command that asks it: Vault, a cloud's KMS, sops, a program of your own.

The whole protocol: the command exits with 0 within 30 seconds and prints the key ring, as a key file holds it.
"""

from __future__ import annotations

import shlex
import subprocess

from masking.errors import StartupError

WITHIN_S = 30.0


def printed(command: str) -> str:
    """What the command prints. It is started once, without a shell; what it says is neither logged nor told.

    Args:
        command: a program and its arguments, quoted as for a shell.

    Raises:
        StartupError: it cannot be started, fails, takes too long, or prints no text.
    """
    try:
        words = shlex.split(command)
        done = subprocess.run(  # noqa: S603 the operator's own command
            words, stdin=subprocess.DEVNULL, capture_output=True, timeout=WITHIN_S, check=True
        )
        return done.stdout.decode()
    except subprocess.CalledProcessError as error:
        reason = f"it ended with exit code {error.returncode}"
    except subprocess.TimeoutExpired:
        reason = f"it took longer than {WITHIN_S:g} s"
    except UnicodeDecodeError:
        reason = "it printed no text"
    except (OSError, ValueError, IndexError) as error:
        reason = f"it cannot be started ({type(error).__name__})"
    raise StartupError(f"MASKING_KEYS_COMMAND: {reason}; run it by hand to see why")
