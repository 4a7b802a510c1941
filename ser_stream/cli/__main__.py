"""``python -m ser_stream.cli``."""

from ser_stream.cli import main

if __name__ == "__main__":
    main()
