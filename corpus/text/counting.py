"""The kernel behind `measures`: one pass over the characters of every row, one over its units, and the search for repeated spans.

A unit is what a word is to measures that were made for English: one Han, kana or Hangul character, a run of letters of any other script
(apostrophes between letters belong to it), or a run of digits. N-grams and lines are compared by 64-bit hashes, repeated spans by their
characters. Scratch memory is as large as the largest
row needs (some 35 bytes for a byte of it, at worst) and is used again for every row.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import njit

from corpus.text import characters as c
from corpus.text.lines import is_code, is_list, is_phrase, said
from corpus.text.repetition import repeat_length

COLUMNS = (
    "chars", "visible", "units", "han", "latin", "digits", "symbols", "replacement", "lines", "list_lines", "code_lines", "ellipsis_lines",
    "end_lines", "dup_chars", "grams_2", "distinct_2", "top_2", "grams_4", "distinct_4", "words", "word_chars", "stop_words", "repeat",
)  # fmt: skip
"""What `count` counts in every row, in the order of its columns; shares are made of these integers."""

LINE = 10
"""Shorter lines (in characters that are not blank) may repeat: `}`, `答案：`, `Yes.`"""

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with", "的", "是", "在", "了", "和", "有", "不", "这")
"""The eight English words of Gopher, and as many of the commonest Chinese function words, in either script."""

_SINGLE = np.uint32(c.HAN | c.KANA | c.HANGUL)
_WORD = np.uint32(c.LATIN | c.LETTER)
_DIGIT = np.uint32(c.DIGIT)
_WHITE = np.uint32(c.BLANK | c.ODD_BLANK | c.LINE_FEED | c.CR)
_SIGN = np.uint32(c.PUNCTUATION | c.SYMBOL)
_KNOWN = np.uint32(_SINGLE | _WORD | _DIGIT | _WHITE | _SIGN | c.CONTROL | c.INVISIBLE)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_GRAM = np.uint64(0xA0761D6478BD642F)
_COLUMNS = len(COLUMNS)
_SMALL = 1 << 14


@cache
def stops() -> tuple[np.ndarray, np.ndarray]:
    """The bit of every stop character (uint16[0x10000]) and the packed lower-case letters of the stop words (uint32[8])."""
    bits = np.zeros(0x10000, dtype=np.uint16)
    packed = []
    for at, word in enumerate(STOP_WORDS):
        if word.isascii():
            packed.append(int.from_bytes(word.encode(), "big"))
        else:
            bits[ord(word)] = 1 << at
    bits[ord("這")] = bits[ord("这")]
    return bits, np.array(packed, dtype=np.uint32)


@njit(cache=True, nogil=True)
def _slots(n: int) -> int:
    """Slots of a table for n entries: a power of two, between 4/3 n and 8/3 n."""
    size = 16
    while 3 * size < 4 * n:
        size *= 2
    return size


@njit(cache=True, nogil=True)
def _decode(data: np.ndarray, at: int, end: int, codes: np.ndarray, n: int) -> int:
    """Appends the code points of data[at:end] to codes; returns how many there are then."""
    while at < end:
        byte = np.int32(data[at])
        if byte < 0x80:
            codes[n] = byte
            at += 1
        elif byte < 0xE0:
            codes[n] = (byte & 0x1F) << 6 | (np.int32(data[at + 1]) & 0x3F)
            at += 2
        elif byte < 0xF0:
            codes[n] = (byte & 0x0F) << 12 | (np.int32(data[at + 1]) & 0x3F) << 6 | (np.int32(data[at + 2]) & 0x3F)
            at += 3
        else:
            codes[n] = (
                (byte & 0x07) << 18
                | (np.int32(data[at + 1]) & 0x3F) << 12
                | (np.int32(data[at + 2]) & 0x3F) << 6
                | (np.int32(data[at + 3]) & 0x3F)
            )
            at += 4
        n += 1
    return n


@njit(cache=True, nogil=True)
def _seen(table: np.ndarray, key: np.uint64) -> bool:
    """Whether the key is in the table; if not it is from now on."""
    mask = np.uint64(len(table) - 1)
    if key == 0:
        key = np.uint64(1)
    at = (key ^ (key >> np.uint64(32))) & mask
    while table[at] != 0:
        if table[at] == key:
            return True
        at = (at + np.uint64(1)) & mask
    table[at] = key
    return False


@njit(cache=True, nogil=True)
def _grams(units: np.ndarray, starts: np.ndarray, n: int, table: np.ndarray, times: np.ndarray, out: np.ndarray) -> None:
    """Counts the n-grams of units: out[0] all, out[1] distinct ones, out[2] how often the most frequent occurs (only for n = 2)."""
    grams = 0
    for t in range(len(starts) - 1):
        grams += max(0, starts[t + 1] - starts[t] - n + 1)
    out[0] = grams
    if grams == 0:
        return
    size = _slots(grams)
    if grams < _SMALL:
        size *= 2  # still in the processor's nearest memory, and fewer slots are asked for in vain
    mask = np.uint64(size - 1)
    table[:size] = 0
    if n == 2:
        times[:size] = 1
    distinct, top = 0, 1
    for t in range(len(starts) - 1):
        for i in range(starts[t], starts[t + 1] - n + 1):
            key = units[i]
            for k in range(1, n):
                key = key * _GRAM + units[i + k]
            key ^= key >> np.uint64(32)
            key *= _MIX
            if key == 0:
                key = np.uint64(1)
            at = (key >> np.uint64(32)) & mask
            while table[at] != 0 and table[at] != key:
                at = (at + np.uint64(1)) & mask
            if table[at] == 0:
                table[at] = key
                distinct += 1
            elif n == 2:
                times[at] += 1
                top = max(top, times[at])
    out[1] = distinct
    if n == 2:
        out[2] = top


@njit(cache=True, nogil=True)
def count(
    offsets: np.ndarray, data: np.ndarray, rows: np.ndarray, bits_of: np.ndarray, stop_bits: np.ndarray, stop_words: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts what there is to count in every row.

    Args:
        offsets, data: the texts as `marks.utf8` gives them.
        rows: int64[rows + 1], the first text of every row, and the number of texts.
        bits_of: `characters.table()`.
        stop_bits, stop_words: `stops()`.

    Returns:
        int64[rows, columns], see COLUMNS; and of every text its characters (int64) and whether it ends as a finished text does (bool).
    """
    many, texts = len(rows) - 1, len(offsets) - 1
    out = np.zeros((many, _COLUMNS), dtype=np.int64)
    lengths = np.zeros(texts, dtype=np.int64)
    ended = np.zeros(texts, dtype=np.bool_)
    largest = 0
    for row in range(many):
        largest = max(largest, offsets[rows[row + 1]] - offsets[rows[row]] + rows[row + 1] - rows[row])
    codes = np.empty(largest + 1, dtype=np.int32)
    units = np.empty(largest + 1, dtype=np.uint64)
    table = np.empty(2 * _slots(largest), dtype=np.uint64)
    times = np.empty(2 * _slots(largest), dtype=np.int32)
    seen_lines = np.empty(0, dtype=np.uint64)
    gram_counts = np.zeros(3, dtype=np.int64)
    for row in range(many):
        first, last = rows[row], rows[row + 1]
        if offsets[first] == offsets[last]:
            continue
        unit_starts = np.empty(last - first + 1, dtype=np.int64)
        n = 0
        u = 0
        line_feeds = 0
        for k in range(offsets[first], offsets[last]):
            if data[k] == 10:
                line_feeds += 1
        many_lines = line_feeds + last - first
        if len(seen_lines) < _slots(many_lines):
            seen_lines = np.empty(_slots(many_lines), dtype=np.uint64)
        line_table = seen_lines[: _slots(many_lines)]
        line_table[:] = 0
        visible = han = latin = digits = symbols = replacement = 0
        lines = list_lines = code_lines = ellipsis_lines = end_lines = dup_chars = 0
        words = word_chars = 0
        stopped = np.uint32(0)
        for text in range(first, last):
            begin = n
            unit_starts[text - first] = u
            n = _decode(data, offsets[text], offsets[text + 1], codes, n)
            lengths[text] = n - begin
            fence = 0  # the mark that opened the fence that the line is in
            done = False  # whether the last line ends as a finished text does
            lines_before = lines
            i = begin
            while i < n:
                # One line: its units, its hash, its first and last visible character.
                line_begin, before, singles = i, visible, 0
                line_first = line_last = -1
                line_hash = np.uint64(0)
                while i < n:
                    code = codes[i]
                    if code == 10:
                        break
                    bits = bits_of[code]
                    if bits & _WHITE:
                        i += 1
                        continue
                    if line_first < 0:
                        line_first = i
                    if bits & _SINGLE:
                        if bits & np.uint32(c.HAN):
                            han += 1
                            if code < 0x10000:
                                stopped |= stop_bits[code]
                        singles += 1
                        key = np.uint64(code) * _SPREAD
                        i += 1
                        visible += 1
                        units[u] = key
                        u += 1
                    elif bits & _WORD:
                        start = i
                        key = np.uint64(0)
                        packed = np.uint32(0)
                        some = 0
                        while True:
                            if bits & _WORD:
                                some += 1
                                if bits & np.uint32(c.LATIN):
                                    latin += 1
                            key = (key ^ np.uint64(code)) * _SPREAD
                            packed = packed << np.uint32(8) | np.uint32((code | 32) & 0xFF)
                            i += 1
                            if i >= n:
                                break
                            code = codes[i]
                            bits = bits_of[code]
                            if bits & _WORD or not bits & _KNOWN:
                                continue
                            if (code == 39 or code == 0x2019) and i + 1 < n and bits_of[codes[i + 1]] & _WORD:
                                symbols += 1
                                continue
                            break
                        visible += i - start
                        key ^= key >> np.uint64(29)
                        units[u] = key
                        u += 1
                        words += 1
                        word_chars += some
                        if i - start <= 4:
                            for k in range(len(stop_words)):
                                if packed == stop_words[k]:
                                    stopped |= np.uint32(1 << k)
                    elif bits & _DIGIT:
                        start = i
                        key = np.uint64(7)
                        while i < n and bits_of[codes[i]] & _DIGIT:
                            key = (key ^ np.uint64(codes[i])) * _SPREAD
                            i += 1
                        digits += i - start
                        visible += i - start
                        key ^= key >> np.uint64(29)
                        units[u] = key
                        u += 1
                    else:
                        if bits & _SIGN:
                            symbols += 1
                            if code == 0xFFFD:
                                replacement += 1
                        key = np.uint64(code)
                        i += 1
                        visible += 1
                    line_hash = (line_hash ^ key) * _MIX
                    line_hash ^= line_hash >> np.uint64(32)
                    line_last = i - 1
                if line_first >= 0:
                    lines += 1
                    mark = codes[line_first]
                    fenced = fence
                    if (
                        (mark == 96 or mark == 126)
                        and line_last - line_first >= 2
                        and codes[line_first + 1] == mark
                        and codes[line_first + 2] == mark
                    ):
                        fenced = mark
                        if fence == 0:
                            fence = mark
                        elif fence == mark:
                            fence = 0
                    final = codes[line_last]
                    dots = final in (46, 0x3002) and line_last - line_first >= 2
                    if final == 0x2026 or (dots and codes[line_last - 1] == final and codes[line_last - 2] == final):
                        ellipsis_lines += 1
                    finished = said(codes, line_first, line_last, bits_of)
                    if finished == 2:
                        end_lines += 1
                    done = finished > 0
                    if fenced:
                        code_lines += 1
                    elif is_list(codes, line_first, line_last, bits_of):
                        list_lines += 1
                        done = True
                    elif singles == 0 and is_code(codes, line_begin, line_first, line_last, bits_of):
                        code_lines += 1
                        done = True
                    elif lines == lines_before + 1 and not done:
                        done = is_phrase(codes, line_first, line_last)
                    if _seen(line_table, line_hash) and visible - before >= LINE:
                        dup_chars += visible - before
                i += 1
            ended[text] = done and fence == 0
            codes[n] = -1 - (text - first)  # a code of its own, so that no repeated span crosses it
            n += 1
        unit_starts[last - first] = u
        line = out[row]
        line[0] = n - (last - first)
        line[1], line[2], line[3], line[4], line[5], line[6], line[7] = visible, u, han, latin, digits, symbols, replacement
        line[8], line[9], line[10], line[11], line[12], line[13] = lines, list_lines, code_lines, ellipsis_lines, end_lines, dup_chars
        _grams(units, unit_starts, 2, table, times, gram_counts)
        line[14], line[15], line[16] = gram_counts[0], gram_counts[1], gram_counts[2]
        gram_counts[:] = 0
        _grams(units, unit_starts, 4, table, times, gram_counts)
        line[17], line[18] = gram_counts[0], gram_counts[1]
        gram_counts[:] = 0
        line[19], line[20] = words, word_chars
        for k in range(16):
            line[21] += np.int64(stopped >> np.uint32(k) & np.uint32(1))
        line[22] = repeat_length(codes, n, table)
    return out, lengths, ended
