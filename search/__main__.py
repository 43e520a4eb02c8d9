"""`python -m search` is dipsearch."""

from search.cli import main

if __name__ == "__main__":
    main(prog_name="dipsearch")
