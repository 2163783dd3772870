"""Pairs of lines: the same pairs however frames are cut, every line accounted for, and no answer under a neighbour's question."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from corpus.sources.base import Frame, Rejected
from corpus.sources.line_pairs import LinePairs

BAD = "<cannot be decoded>"


def lines_of(text: str, cuts: set[int]) -> list[Frame]:
    """The frames of a file, cut before the line numbers in `cuts`. Blank lines are no records; the base format rejects BAD ones."""
    frames = [Frame(ordinals=[], offsets=[], lengths=[])]
    offset = 0
    for ordinal, line in enumerate(text.split("\n")):
        if ordinal in cuts:
            frames.append(Frame(ordinals=[], offsets=[], lengths=[]))
        frame = frames[-1]
        if line == BAD:
            frame.rejects.append(Rejected(ordinal, offset, len(line), "encoding", "", b""))
            frame.records += 1
        elif line.strip():
            frame.values.append(line)
            for column, value in ((frame.ordinals, ordinal), (frame.offsets, offset), (frame.lengths, len(line))):
                column.append(value)  # type: ignore[union-attr]
            frame.records += 1
        offset += len(line) + 1
    return frames


def fold(text: str, cuts: set[int] = frozenset()) -> tuple[list[list[str]], list[tuple[int, str]]]:  # type: ignore[assignment]
    """All pairs and all rejects (ordinal and reason), after checking the account of the frames."""
    frames = lines_of(text, cuts)
    pairs, rejects = [], []
    records = 0
    for frame in LinePairs()(iter(frames)):
        records += frame.records
        for at, (value, ordinal) in enumerate(zip(frame.values, frame.ordinals, strict=True)):
            assert frame.groups[at][0] == ordinal
            assert frame.groups[at][1] == ordinal + 1
            assert frame.offsets is not None
            assert frame.lengths is not None
            assert text[frame.offsets[at] :][: frame.lengths[at]] == "\n".join(value)
        assert frame.records == 2 * len(frame.values) + len(frame.rejects)
        pairs += frame.values
        rejects += [(r.record, r.reason) for r in frame.rejects]
    assert records == sum(f.records for f in frames)
    return pairs, rejects


def test_pairs_with_blank_lines_between() -> None:
    assert fold("q1\na1\n\n\nq2\na2\n\n\n") == ([["q1", "a1"], ["q2", "a2"]], [])


def test_pairs_without_blank_lines() -> None:
    assert fold("q1\na1\nq2\na2\n") == ([["q1", "a1"], ["q2", "a2"]], [])


def test_a_last_line_without_a_partner_is_an_orphan() -> None:
    assert fold("q1\na1\nq2") == ([["q1", "a1"]], [(2, "orphan")])


def test_a_missing_answer_does_not_shift_the_rest() -> None:
    assert fold("q1\n\n\nq2\na2\n\n\nq3\na3") == ([["q2", "a2"], ["q3", "a3"]], [(0, "orphan")])


def test_a_line_that_cannot_be_decoded_takes_its_place() -> None:
    pairs, rejects = fold(f"q1\n{BAD}\nq2\na2\n{BAD}\na3\nq4\na4")
    assert pairs == [["q2", "a2"], ["q4", "a4"]]
    assert sorted(rejects) == [(0, "orphan"), (1, "encoding"), (4, "encoding"), (5, "orphan")]


@given(st.lists(st.sampled_from(["", "x", "y,z", BAD]), max_size=30), st.sets(st.integers(1, 30)))
def test_where_frames_are_cut_does_not_matter(lines: list[str], cuts: set[int]) -> None:
    text = "\n".join(lines)
    whole, cut = fold(text), fold(text, cuts)
    assert cut[0] == whole[0]
    assert sorted(cut[1]) == sorted(whole[1])
