"""`python -m ppsr`: the same as the command `ppsr`."""

from ppsr.cli import main

if __name__ == "__main__":
    main()
