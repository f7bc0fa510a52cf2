"""python -m dfovsdb."""

import sys

from dfovsdb.cli import main

sys.exit(main())
