"""The options of a task, for jobs that were enqueued by the name of its function alone."""

import logging

import msgspec

from naq_core.callback_option import EVENTS
from naq_core.callbacks import with_encoded_callbacks
from naq_core.envelope import Envelope, JobOptions
from naq_core.errors import NaqError, UnknownTaskError
from naq_core.option_set import declared_options
from naq_core.options import fill_options
from naq_core.serialization import find_function
from naq_core.settings import Settings

log = logging.getLogger(__name__)


def with_declared_options(envelope: Envelope, settings: Settings) -> Envelope:
    """Return the envelope with what its task declares for the run options that the enqueuer left open.

    The enqueuer need not have the code, so only the worker can know them. It imports the function, as far as it may run it; one
    that cannot be found is left to the attempt, which says so.
    """
    if envelope.given is None:
        return envelope
    try:
        declared = declared_options(find_function(envelope.fn, settings.job_serializer, settings.allowed_functions))
    except UnknownTaskError:
        declared = None
    if declared is None:
        return envelope
    options = fill_options(envelope.opt, envelope.given, declared.job, declared.given)
    if options.has_callbacks:
        options = _with_callbacks(options, envelope, settings)
    return msgspec.structs.replace(envelope, opt=options, given=None)


def _with_callbacks(options: JobOptions, envelope: Envelope, settings: Settings) -> JobOptions:
    """Return options with the callbacks that a task declares, as they can be enqueued; without them where that is impossible."""
    none = msgspec.structs.replace(options, **dict.fromkeys(EVENTS, ()))
    if options.fast:
        return none
    try:
        return with_encoded_callbacks(options, settings.job_serializer)
    except NaqError as error:
        log.error("job %s has no callbacks: %s", envelope.id, error)  # noqa: TRY400 - the error says it all
        return none
