"""Single words that pages write for what is stored: one for each state, kind and outcome."""

import gettext
import re
from collections.abc import Iterable

from naq_dashboard.languages import N_

__all__ = ["WORDS", "script_texts"]

WORDS = (
    # States of jobs.
    N_("queued"),
    N_("held"),
    N_("running"),
    N_("retrying"),
    N_("succeeded"),
    N_("dead"),
    N_("cancelled"),
    N_("expired"),
    # States of workers.
    N_("up"),
    N_("quiet"),
    N_("stopping"),
    N_("stopped"),
    N_("vanished"),
    # Kinds of events.
    N_("enqueued"),
    N_("started"),
    N_("progress"),
    N_("returned"),
    N_("released"),
    N_("failed"),
    N_("kept"),
    # What has become of a schedule's time.
    N_("fired"),
    N_("manual"),
    N_("backfilled"),
    N_("missed"),
    N_("skipped"),
    # Outcomes of actions.
    N_("begun"),
    N_("done"),
    N_("refused"),
    N_("unknown"),
    # How somebody was recognised.
    N_("nobody"),
    N_("session"),
    N_("password"),
    N_("token"),
    N_("proxy"),
    N_("host"),
    # Bulk actions.
    N_("retry"),
    N_("cancel"),
    N_("delete"),
    # What needs attention, and what is searched for.
    N_("queue"),
    N_("queues"),
    N_("worker"),
    N_("workers"),
    N_("schedule"),
    N_("schedules"),
    N_("scheduler"),
    N_("versions"),
    N_("signal"),
    N_("signals"),
    N_("state"),
    N_("function"),
    N_("workflow"),
    N_("error"),
    N_("tag"),
    N_("enqueued since"),
    N_("enqueued until"),
    N_("id, arguments or error with"),
    # Levels of priority.
    N_("high"),
    N_("normal"),
    N_("low"),
)

_IN_SCRIPT = re.compile(r'\b_\("((?:[^"\\]|\\.)+)"')


def script_texts(scripts: Iterable[str], catalogue: gettext.NullTranslations) -> dict[str, str]:
    """Return the texts of scripts that a catalogue translates: `_("…")` in them looks them up in what the page hands over."""
    texts = {text for script in scripts for text in _IN_SCRIPT.findall(script)}
    return {text: translated for text in sorted(texts) if (translated := catalogue.gettext(text)) != text}
