"""`python -m loadtest.bots`."""

import sys

from loadtest.bots.run import main

sys.exit(main())
