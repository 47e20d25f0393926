"""`python -m forewarn` is the `forewarn` command."""

import sys

from forewarn.cli import main

sys.exit(main())
