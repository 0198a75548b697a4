"""``python -m nsh``: the command line."""

import sys

from nsh.cli import main

sys.exit(main())
