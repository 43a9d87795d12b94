"""`python -m bakein` is the same as `bakein`."""

import sys

from bakein.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
