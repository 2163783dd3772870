"""The compiled loops of the data path: which samples rows give, in which order they come, and their tokens as a batch.

Arrays in, arrays out; nothing here knows files. Ten million rows are looked at in a fraction of a second, so nothing about single rows has
to be kept: samples of a block are found again whenever they are needed, from the offsets that are mapped into memory.

Random numbers are splitmix64 (Steele, Lea, Flood 2014), drawn from a key for each thing that is shuffled: the order of an epoch must
stay what it was when a run is resumed, and no library's generator promises that over its versions.
"""

from __future__ import annotations

import numpy as np
from numba import njit

TEXT, DIALOGUE, PAIR, TEXT_2, DIALOGUE_2, PAIR_2 = range(6)
"""Ways to read rows; those with a 2 are for an encoder-decoder."""

DROP, TRUNCATE, SPLIT = range(3)
"""What is done with what is too long."""

KEPT, DROPPED, CUT, UNLABELLED, TOKENS, LOST, READ, LEARNED, LONGEST = range(9)
"""Places of a tally: rows that give a sample, that give none since they are too long, that give only a part of themselves, that have
nothing to be learned; tokens of all rows, and those that were lost to length; tokens and labels of all samples; the longest sample."""

IGNORED = -100
"""Label of a position that is not learned, as torch's cross entropy has it."""


@njit(cache=True, nogil=True)
def select(offsets, learned, ranges, first, after, way, overlong, most, base, rows, spans, tally):  # type: ignore[no-untyped-def]
    """The samples of rows [first, after) of a file.

    Args:
        offsets, learned, ranges: of the file (`corpus.tokenizer.encoded`).
        first, after: rows.
        way, overlong, most: how they are read, what is done with longer ones, and the limit in tokens (of each side where there are two).
        base: the number of the file's first row.
        rows, spans: int64[n] and int32[n, 4] to fill: rows, and what is read and written of them; empty when they are only to be counted.
            A decoder's sample is [first, last) and two zeros; an encoder-decoder's the source and the target.
        tally: int64[9] that is added to.

    Returns:
        How many samples there are; -1 when the file contradicts itself.
    """
    made = 0
    fill = rows.size > 0
    sides = 2 if way in (PAIR, PAIR_2) else 1
    for row in range(first, after):
        at = row * sides
        begin, end = offsets[at], offsets[at + sides]
        middle = offsets[at + 1]
        n = end - begin
        if n < 0 or middle < begin or middle > end:
            return -1
        low = high = np.int64(0)
        if way in (DIALOGUE, DIALOGUE_2):
            low, high = ranges[row], ranges[row + 1]
            if low < 0 or high < low or high > len(learned):
                return -1
            for r in range(low, high):
                if not 0 <= learned[r, 0] <= learned[r, 1] <= n:
                    return -1
        tally[TOKENS] += n
        before = made
        missed = np.int64(0)
        nothing = False

        if way in (TEXT, DIALOGUE, PAIR):
            # Nothing precedes position 0, so it is never learned.
            marks = np.int64(0)
            if way == DIALOGUE:
                for r in range(low, high):
                    marks += max(0, learned[r, 1] - max(1, learned[r, 0]))
            elif way == PAIR:
                marks = n - max(1, middle - begin)
            else:
                marks = n - 1
            if marks <= 0:
                nothing = True
            elif n <= most or (way == TEXT and overlong == SPLIT):
                start = np.int64(0)
                while True:
                    # A piece begins with the last token of the one before: every token but the document's first is learned once.
                    stop = min(n, start + most)
                    if fill:
                        rows[made] = base + row
                        spans[made, 0], spans[made, 1], spans[made, 2], spans[made, 3] = start, stop, 0, 0
                    made += 1
                    tally[READ] += stop - start
                    tally[LONGEST] = max(tally[LONGEST], stop - start)
                    if stop == n:
                        break
                    start = stop - 1
                tally[LEARNED] += marks
            elif overlong == DROP:
                missed = n
            else:
                left = np.int64(0)
                if way == DIALOGUE:
                    for r in range(low, high):
                        left += max(0, min(most, learned[r, 1]) - max(1, learned[r, 0]))
                else:
                    left = most - (1 if way == TEXT else max(1, middle - begin))
                if left > 0:
                    if fill:
                        rows[made] = base + row
                        spans[made, 0], spans[made, 1], spans[made, 2], spans[made, 3] = 0, most, 0, 0
                    made += 1
                    tally[READ] += most
                    tally[LEARNED] += left
                    tally[LONGEST] = max(tally[LONGEST], most)
                    missed = n - most
                else:
                    missed = n
        elif way == TEXT_2:
            if n < 2:
                nothing = True
            elif n > 2 * most and overlong == DROP:
                missed = n
            else:
                start = np.int64(0)
                while n - start >= 2 and (start == 0 or overlong == SPLIT):
                    stop = min(n, start + 2 * most)
                    half = (start + stop) // 2
                    if fill:
                        rows[made] = base + row
                        spans[made, 0], spans[made, 1], spans[made, 2], spans[made, 3] = start, half, half, stop
                    made += 1
                    tally[READ] += stop - start
                    tally[LEARNED] += stop - half
                    tally[LONGEST] = max(tally[LONGEST], stop - start)
                    # A last token that is left alone is written after the one before it, which is read again.
                    start = stop - 1 if n - stop == 1 and overlong == SPLIT else stop
                missed = n - start if start < n and overlong != SPLIT else np.int64(0)
        else:
            nothing = True
            for r in range(low, high if way == DIALOGUE_2 else low + 1):
                if way == DIALOGUE_2:
                    source, target = np.int64(learned[r, 0]), np.int64(learned[r, 1])
                else:
                    source, target = middle - begin, end - middle
                    target += source  # so that target - source is what is written, in both ways
                if source == 0 or target == source:
                    continue  # nothing to read, or nothing to write
                nothing = False
                written = target - source
                if (source > most or written > most) and overlong == DROP:
                    missed += written + (source if way == PAIR_2 else 0)
                    continue
                missed += max(0, source - most) + max(0, written - most)
                start, written = max(np.int64(0), source - most), min(written, most)
                to = source if way == DIALOGUE_2 else np.int64(0)
                if fill:
                    rows[made] = base + row
                    spans[made, 0], spans[made, 1], spans[made, 2], spans[made, 3] = start, source, to, to + written
                made += 1
                tally[READ] += source - start + written
                tally[LEARNED] += written
                tally[LONGEST] = max(tally[LONGEST], source - start + written)

        if nothing:
            tally[UNLABELLED] += 1
        elif made == before:
            tally[DROPPED] += 1
        else:
            tally[KEPT] += 1
            tally[CUT] += missed > 0
        tally[LOST] += missed
    return made


@njit(cache=True, nogil=True)
def count(offsets, learned, ranges, total, block, way, overlong, most, counts, rows, spans, tally):  # type: ignore[no-untyped-def]
    """The samples of each block of a file: `counts` is filled (int64[blocks]); `rows` and `spans` are empty. False: see `select`."""
    for number in range(len(counts)):
        first = number * block
        counts[number] = select(offsets, learned, ranges, first, min(total, first + block), way, overlong, most, 0, rows, spans, tally)
        if counts[number] < 0:
            return False
    return True


@njit(cache=True, nogil=True)
def shuffle(items, key):  # type: ignore[no-untyped-def]
    """Permutes items in place (Fisher and Yates) by the splitmix64 stream that `key` (uint64) begins."""
    state = key
    for last in range(len(items) - 1, 0, -1):
        state += np.uint64(0x9E3779B97F4A7C15)
        z = state
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
        # A remainder of 64 bits by a number below 2^32 prefers some values by less than 2^-32.
        other = np.int64(z % np.uint64(last + 1))
        items[last], items[other] = items[other], items[last]


@njit(cache=True, nogil=True)
def _sort(order, keys, size):  # type: ignore[no-untyped-def]
    """`order` by `keys[order]` (each below `size`), what is equal as it was."""
    begins = np.zeros(size + 1, dtype=np.int64)
    for i in order:
        begins[keys[i] + 1] += 1
    for k in range(size):
        begins[k + 1] += begins[k]
    out = np.empty_like(order)
    for i in order:
        out[begins[keys[i]]] = i
        begins[keys[i]] += 1
    return out


@njit(cache=True, nogil=True)
def _cut(order, read, written, micro_tokens, pack, ends):  # type: ignore[no-untyped-def]
    """Cuts an order into micro-batches; `ends` is filled. Returns how many there are, and tokens with padding."""
    made = 0
    padded = widest = other = n = np.int64(0)
    for i in range(len(order)):
        a, b = np.int64(read[order[i]]), np.int64(written[order[i]])
        wide = widest + a if pack else max(widest, a)
        cost = wide if pack else (n + 1) * (wide + max(other, b))
        if n and cost > micro_tokens:
            padded += widest if pack else n * (widest + other)
            ends[made] = i
            made += 1
            n, wide, other = np.int64(0), a, np.int64(0)
        widest, other, n = wide, max(other, b), n + 1
    if n:
        padded += widest if pack else n * (widest + other)
        ends[made] = len(order)
        made += 1
    return made, padded


@njit(cache=True, nogil=True)
def arrange(read, written, micro_tokens, pack, mix, key):  # type: ignore[no-untyped-def]
    """The samples of a window as micro-batches.

    Where nothing is written (a decoder) samples are sorted by length. An encoder-decoder pads both sides: samples are sorted by one side,
    cut into strips, and sorted by the other side in each, forth and back; of some numbers of strips the one that pads least is taken.

    Args:
        read, written: lengths (int32[n]).
        micro_tokens: of a micro-batch at most, padding included, unless a single sample is longer.
        pack: one sample behind another, in the order that they were shuffled to, instead of side by side.
        mix: whether to shuffle.
        key: what is drawn (uint64).

    Returns:
        The samples in their order (int64[n]), where each micro-batch ends among them (int64[m]), and tokens with padding.
    """
    n = len(read)
    order = np.arange(n)
    if mix:
        shuffle(order, key)
    ends = np.empty(n, dtype=np.int64)
    if not pack and n:
        size = np.int64(max(read.max(), written.max())) + 1
        shuffled = order
        order = _sort(shuffled, read, size)
        if written.max() > 0:
            keys = np.empty(n, dtype=np.int64)
            best = np.int64(-1)
            total = np.int64(0)
            for i in range(n):
                total += read[i] + written[i]
            for side in range(2):
                major, minor = (read, written) if side == 0 else (written, read)
                sorted_ = _sort(shuffled, major, size)
                strips = 1
                while strips <= 512 and strips <= n:
                    # Strips of as many tokens: of few samples where they are long, and padding is dear.
                    place = np.empty(n, dtype=np.int64)
                    before = np.int64(0)
                    for i in sorted_:
                        strip = before * strips // total
                        before += read[i] + written[i]
                        place[i] = strip
                        keys[i] = minor[i] if strip % 2 == 0 else size - 1 - minor[i]
                    tried = _sort(_sort(sorted_, keys, size), place, strips)
                    _, padded = _cut(tried, read, written, micro_tokens, False, ends)
                    if best < 0 or padded < best:
                        best, order = padded, tried
                    strips *= 2
    made, padded = _cut(order, read, written, micro_tokens, pack, ends)
    numbers = np.arange(made)
    if mix:
        shuffle(numbers, ~key)
    out, after = np.empty_like(order), np.empty(made, dtype=np.int64)
    at = 0
    for m in range(made):
        number = numbers[m]
        for i in range(ends[number - 1] if number else 0, ends[number]):
            out[at] = order[i]
            at += 1
        after[m] = at
    return out, after, padded


@njit(cache=True, nogil=True)
def fill(offsets, ids, learned, ranges, way, base, which, rows, spans, at, to, into, labels, places, targets, pack):  # type: ignore[no-untyped-def]
    """Writes samples of one file into a batch.

    Args:
        offsets, ids, learned, ranges: of the file.
        way: how rows are read.
        base: number of the file's first row.
        which: the samples of the batch that are of this file (int64).
        rows, spans: all samples of the batch, as `select` gives them.
        at, to: where each sample begins in the flat arrays of what is read, and of what is written.
        into, labels, places: flat arrays for ids, labels, and attention mask or, if packed, positions (int64).
        targets: flat array for the labels of an encoder-decoder.
        pack: whether places are positions.

    Returns:
        How many labels there are.
    """
    marked = 0
    sides = 2 if way in (PAIR, PAIR_2) else 1
    for s in which:
        row = rows[s] - base
        begin = offsets[row * sides]
        start, stop = spans[s, 0], spans[s, 1]
        place = at[s]
        for i in range(start, stop):
            into[place + i - start] = ids[begin + i]
            places[place + i - start] = i - start if pack else 1
        if way >= TEXT_2:
            behind = offsets[row * 2 + 1] if way == PAIR_2 else begin
            for i in range(spans[s, 2], spans[s, 3]):
                targets[to[s] + i - spans[s, 2]] = ids[behind + i]
            marked += spans[s, 3] - spans[s, 2]
        elif way == DIALOGUE:
            for r in range(ranges[row], ranges[row + 1]):
                for i in range(max(start + 1, learned[r, 0]), min(stop, learned[r, 1])):
                    labels[place + i - start] = ids[begin + i]
                    marked += 1
        else:
            for i in range(start + 1 if way == TEXT else max(start + 1, offsets[row * 2 + 1] - begin), stop):
                labels[place + i - start] = ids[begin + i]
                marked += 1
    return marked
