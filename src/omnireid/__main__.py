"""``python -m omnireid``, which torchrun can start: ``torchrun -m omnireid train …``."""

import sys

from omnireid.cli import main

if __name__ == "__main__":
    sys.exit(main())
