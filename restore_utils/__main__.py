"""`python -m restore_utils` is the command line."""

import sys

from restore_utils.cli.main import main

sys.exit(main())
