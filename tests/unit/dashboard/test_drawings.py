"""The drawings of workflows: graphs in layers, bars in time."""

from datetime import UTC, datetime, timedelta

from naq_core.record import JobState
from naq_core.views import JobView
from naq_dashboard.drawing.dag import draw
from naq_dashboard.drawing.gantt import SCALE, chart, longest_way

BEGIN = datetime(2026, 11, 24, tzinfo=UTC)


def ran(job_id: str, since: float, until: float | None, *parents: str) -> JobView:
    return JobView(
        job_id=job_id,
        queue="etl",
        state=JobState.RUNNING if until is None else JobState.SUCCEEDED,
        parents=list(parents),
        started_at=BEGIN + timedelta(seconds=since),
        ended_at=None if until is None else BEGIN + timedelta(seconds=until),
    )


class TestGraph:
    def test_children_stand_to_the_right_of_all_their_parents(self) -> None:
        drawing = draw([("a", []), ("b", ["a"]), ("c", ["a", "b"])])
        x = {place.key: place.x for place in drawing.places}
        assert x["a"] < x["b"] < x["c"]
        assert {(edge.parent, edge.child) for edge in drawing.edges} == {("a", "b"), ("a", "c"), ("b", "c")}

    def test_a_circle_and_unknown_parents_do_not_break_it(self) -> None:
        drawing = draw([("a", ["b", "gone"]), ("b", ["a"]), ("c", ["c"])])
        assert {place.key for place in drawing.places} == {"a", "b", "c"}
        assert len(drawing.edges) == 1

    def test_no_two_nodes_share_a_place_and_all_are_inside(self) -> None:
        drawing = draw([("root", []), *((f"n{n}", ["root"]) for n in range(50)), ("end", [f"n{n}" for n in range(50)])])
        assert len({(place.x, place.y) for place in drawing.places}) == 52
        assert all(0 <= place.x <= drawing.width - drawing.node_width for place in drawing.places)
        assert all(0 <= place.y <= drawing.height - drawing.node_height for place in drawing.places)

    def test_thousands_in_a_row_are_no_problem(self) -> None:
        assert len(draw([(str(n), [str(n - 1)]) for n in range(3000)]).edges) == 2999


class TestGantt:
    def test_bars_have_the_length_of_their_runs_and_tell_how_long_they_waited(self) -> None:
        gantt = chart([ran("b", 6, 10, "a"), ran("a", 1, 5)], BEGIN)
        assert [bar.job.job_id for bar in gantt.bars] == ["a", "b"]
        assert gantt.seconds == 10
        first, second = gantt.bars
        assert (first.waited_from, first.ran_from, first.ran_to) == (0, SCALE * 0.1, SCALE * 0.5)
        assert (second.waited_from, second.ran_from, second.ran_to) == (SCALE * 0.5, SCALE * 0.6, SCALE)

    def test_a_running_job_ends_now_and_clocks_may_differ(self) -> None:
        now = BEGIN + timedelta(seconds=4)
        gantt = chart([ran("a", -1, None), ran("b", 2, 1)], BEGIN, now)
        assert all(0 <= bar.waited_from <= bar.ran_from < bar.ran_to for bar in gantt.bars)

    def test_nothing_has_started(self) -> None:
        assert chart([JobView(job_id="a", queue="etl", state=JobState.HELD)], BEGIN).bars == []


def test_the_longest_way_goes_over_the_parent_that_ended_last() -> None:
    jobs = [ran("a", 0, 1), ran("b", 0, 3), ran("c", 3, 4, "a", "b"), ran("d", 0, 2), ran("end", 4, 5, "c", "d", "unknown")]
    assert [job.job_id for job in longest_way(jobs)] == ["b", "c", "end"]


def test_the_longest_way_of_nothing_is_nothing() -> None:
    assert longest_way([]) == []
