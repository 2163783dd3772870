-- Rows that go on, with their numbers, and those among them that are equal. Of each group of equal rows one is kept: the first in the order
-- of keeping, which depends on nothing but the rows themselves: evaluation rows before training rows, then by the priority of the source,
-- then the one with fewer damaged characters, then the longer one, then by row_id.
-- {sketched}: of all rows; {dropped}: the ledger of the stages before. Tables: `parts(path, base)`, where the numbers of each partition
-- begin; `sources(source, priority, protected)`.
CREATE TEMP TABLE alive AS
SELECT
    s.row_id, s.source, p.base + s.file_row_number AS number, s.key, s.whole, c.protected,
    -- Ascending in the order of keeping.
    {{
        training: NOT (c.protected OR coalesce(s.upstream_split, 'train') IN ('validation', 'test')),
        priority: c.priority,
        damage: s.damage,
        chars: -s.chars,
        row_id: s.row_id
    }} AS place
FROM {sketched} AS s
JOIN parts AS p ON s.filename = p.path
JOIN sources AS c ON s.source = c.source
ANTI JOIN (SELECT row_id FROM {dropped}) AS d ON s.row_id = d.row_id;

-- Equal are rows with the same folded texts and the same units: folding makes one of `ab c` and `abc`, which are not the same units.
CREATE TEMP TABLE equal AS
SELECT number, first_value(number) OVER w AS first, row_number() OVER w > 1 AND NOT protected AS again
FROM alive SEMI JOIN (SELECT key, whole FROM alive GROUP BY key, whole HAVING count(*) > 1) USING (key, whole)
WINDOW w AS (PARTITION BY key, whole ORDER BY place);
