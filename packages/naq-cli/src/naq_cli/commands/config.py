"""`naq config`: the settings and where each comes from."""

from cyclopts import App

from naq_cli._options import READING, Reading

app = App(name="config", help="Show every setting and where it comes from.")


@app.default
@app.command
def show(*, options: Reading = READING) -> int:
    """Show every setting, its value and its source; secrets are hidden.

    A setting comes from the command line, NAQ_<NAME>, a NATS_* variable, naq.toml or [tool.naq] in pyproject.toml, or is the
    default.
    """
    from naq_cli._session import offline
    from naq_cli.actions.config import show_settings

    return offline("config show", options, show_settings)
