"""What a worker process is started with."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of `naq worker`, which says what they mean; None: not given."""

    queues: tuple[str, ...]
    concurrency: int | None
    burst: bool
    nats_url: str | None
    imports: tuple[str, ...]
    log_level: str | None
    log_format: str | None
    workers: int | None
    max_jobs: int | None
    max_memory: str | None
    max_idle: str | None
    http_port: int | None
    http_host: str
    name: str | None
    reload: bool

    def arguments(self) -> list[str]:
        """Return the command line of one of several processes."""
        given = {
            "--concurrency": self.concurrency,
            "--nats-url": self.nats_url,
            "--log-level": self.log_level,
            "--log-format": self.log_format,
            "--max-jobs": self.max_jobs,
            "--max-memory": self.max_memory,
            "--max-idle": self.max_idle,
            "--name": self.name,
        }
        named = [f"{name}={value}" for name, value in given.items() if value is not None]
        imports = [f"--imports={module}" for module in self.imports]
        return [*named, *imports, *(["--burst"] if self.burst else []), "--", *self.queues]
