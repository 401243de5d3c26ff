"""`python -m restore_utils` is the command line."""

import sys

from restore_utils.cli import main

sys.exit(main())
