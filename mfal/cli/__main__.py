"""`python -m mfal.cli` does the same as `mfal`."""

import sys

from mfal.cli.command import main

sys.exit(main())
