"""What schedules do when the clocks change: no scheduler has to run to see when they will fire."""

from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

from naq_core.cron import parse_cron, times


def show(title: str, cron: str, zone: str, since: datetime, count: int) -> None:
    """Print the times of an expression on the wall clock of its zone."""
    found = islice(times(parse_cron(cron, zone), since), count)
    walls = [f"{at.astimezone(ZoneInfo(zone)):%d %b %H:%M%z}" for at in found]
    print(f"{title} ({cron}): {', '.join(walls)}")


def main() -> None:
    """Look at both changes of the year."""
    spring, autumn = datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)
    # 02:30 does not exist on 29 March: it runs once, right after the change.
    show("skipped", "30 2 * * *", "Europe/Berlin", spring, 2)
    # 02:30 comes twice on 25 October: it runs the first time only.
    show("repeated", "30 2 * * *", "Europe/Berlin", autumn, 2)
    # A star for the hour or the minute means real time: every real hour, whatever the clock on the wall shows.
    show("hourly", "0 * * * *", "Europe/Berlin", autumn.replace(hour=23), 4)
    # This zone moves by half an hour.
    show("half", "15 2 * * *", "Australia/Lord_Howe", datetime(2026, 10, 3, 0, tzinfo=UTC), 2)


if __name__ == "__main__":
    main()
