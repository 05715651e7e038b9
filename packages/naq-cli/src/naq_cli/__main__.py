"""Lets `python -m naq_cli` stand in for `naq`."""

from naq_cli.app import main

if __name__ == "__main__":
    main()
