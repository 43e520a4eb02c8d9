"""`python -m dipstage` is dipstage."""

from dipstage.terminal.cli import main

if __name__ == "__main__":
    main(prog_name="dipstage")
