"""Numbers in sentences."""

import pytest

from naq_core.wording import counted, were


@pytest.mark.parametrize(("count", "text"), [(0, "0 jobs were"), (1, "1 job was"), (2, "2 jobs were"), (1204, "1,204 jobs were")])
def test_a_noun_and_a_verb_follow_their_number(count: int, text: str) -> None:
    assert f"{counted(count, 'job')} {were(count)}" == text
