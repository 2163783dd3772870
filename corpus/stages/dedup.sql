-- Rows that are equal after folding. Of each group one is kept: evaluation rows before training rows, then by the priority of
-- the source, then the longer one, then by row_id, so that the choice depends on nothing but the rows themselves.
-- {clean}, {measures}: of all rows; {dropped}: the ledger of the filter; `sources(source, priority)`.
CREATE TEMP TABLE equal AS
WITH alive AS (
    SELECT row_id, source, row_key, upstream_split FROM {clean} ANTI JOIN (SELECT row_id FROM {dropped}) USING (row_id)
),
repeated AS (
    SELECT row_key FROM alive GROUP BY row_key HAVING count(*) > 1
),
ranked AS (
    SELECT
        c.row_id, c.source, c.row_key,
        row_number() OVER w AS place,
        first_value(c.row_id) OVER w AS keeper,
        count(*) OVER (PARTITION BY c.row_key) AS size
    FROM alive AS c SEMI JOIN repeated USING (row_key)
    JOIN sources AS s ON c.source = s.source
    JOIN (SELECT row_id, chars FROM {measures}) AS m ON c.row_id = m.row_id
    WINDOW w AS (
        PARTITION BY c.row_key
        ORDER BY coalesce(c.upstream_split, 'train') IN ('validation', 'test') DESC, s.priority, m.chars DESC, c.row_id
    )
)
SELECT row_id, source, keeper, place = 1 AS kept, size::INTEGER AS size FROM ranked
