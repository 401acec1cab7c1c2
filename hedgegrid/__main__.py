"""`python -m hedgegrid`: the same as the installed command `hedgegrid`."""

from hedgegrid.cli import main

if __name__ == "__main__":
    main()
