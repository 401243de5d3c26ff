"""`python -m restore_utils` is the command line.

Little is imported before interruptions are listened to: the rest takes seconds, in which people press Ctrl-C too.
"""

import os
import signal
import sys

INTERRUPTED = 130


def main() -> int:
    """Run the command line; returns the exit code."""
    # A program may be started without these (`>&-`); what is printed then goes nowhere.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be no text at all
    try:
        # A stopped container or notebook ends like Ctrl-C: what is finished stays, nothing half-written is left.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        from restore_utils.cli.main import main as command_line

        code = command_line()
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # `| head` has seen enough. The interpreter would complain once more when it closes the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        sys.stderr.write("stopped before the work began\n")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
