"""Which exit code each error of NAQ becomes, and what is said."""

import pytest

from naq_cli._errors import CommandError, explain, report
from naq_cli.exit_codes import ExitCode
from naq_core import errors
from naq_core.settings import Settings

SETTINGS = Settings(nats_url="nats://db:4222")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigurationError("ack_wait", "must be longer", "NAQ_ACK_WAIT"), 2),
        (errors.InvalidNameError("queue name", "a.b", "use letters"), 2),
        (errors.EncodeError("cannot be pickled"), 2),
        (errors.PayloadTooLargeError("the call", 2, 1), 2),
        (errors.InvalidScheduleError("cron", "99", "is none"), 2),
        (errors.BrokerUnavailableError("nats://db:4222", "refused"), 3),
        (errors.AuthenticationError("nats://db:4222", ""), 3),
        (errors.JetStreamDisabledError("nats://db:4222"), 3),
        (errors.ServerTooOldError("2.10", 1, 2), 3),
        (errors.UnknownTaskError("shop:send", "is not allowed"), 4),
        (errors.JobNotFoundError("x"), 5),
        (errors.QueueNotFoundError("x"), 5),
        (errors.ScheduleNotFoundError("x"), 5),
        (errors.WorkflowNotFoundError("x"), 5),
        (errors.BrokerTimeoutError("publish", 5), 6),
        (errors.EnqueueUnknownError(["x"], "the server went away"), 6),
        (errors.DuplicateJobError("x"), 7),
        (errors.JobStateError("x", "running", "cancel it first"), 7),
        (errors.PermissionDeniedError("publish", "naq.jobs.>"), 7),
        (errors.ConfigurationError("stream naq_jobs", "exists with other subjects"), 7),
        (errors.JobFailedError("x", "ValueError", "no"), 1),
        (errors.JobTimeoutError("x", 5), 124),
        (CommandError("no", ExitCode.USAGE), 2),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_an_error_has_its_exit_code(error: Exception, code: int) -> None:
    assert explain(error, SETTINGS).code == code


def test_an_argument_is_named_as_the_option_it_was() -> None:
    error = errors.ConfigurationError("nats_url", "must be an address", "argument")
    assert explain(error, SETTINGS).message == "--nats-url: must be an address"
    error = errors.ConfigurationError("nats_context", "is not there", "argument")
    assert explain(error, SETTINGS).message == "--context: is not there"


def test_an_error_is_one_line_even_where_a_job_wrote_several(capsys: pytest.CaptureFixture[str]) -> None:
    assert report("job result", errors.JobFailedError("x", "ValueError", "one\ntwo"), SETTINGS) == 1
    assert capsys.readouterr().err == "naq job result: job x: failed with ValueError: one two\n"


def test_what_nobody_foresaw_is_named_as_the_bug_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert report("job list", KeyError("state"), None) == 1
    said = capsys.readouterr().err
    assert "unexpected KeyError" in said
    assert "Traceback" not in said
    monkeypatch.setenv("NAQ_LOG_LEVEL", "DEBUG")
    report("job list", KeyError("state"), None)
    assert "KeyError: 'state'" in capsys.readouterr().err
