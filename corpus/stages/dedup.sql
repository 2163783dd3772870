-- Rows that are equal after folding. Of each group one is kept: evaluation rows before training rows, then by the priority of
-- the source, then the longer one, then by row_id, so that the choice depends on nothing but the rows themselves.
-- {clean}: the clean partitions; `sources(source, priority)`.
CREATE TEMP TABLE equal AS
WITH repeated AS (
    SELECT row_key FROM {clean} GROUP BY row_key HAVING count(*) > 1
),
ranked AS (
    SELECT
        c.row_id, c.source, c.row_key,
        row_number() OVER w AS place,
        first_value(c.row_id) OVER w AS keeper,
        count(*) OVER (PARTITION BY c.row_key) AS size
    FROM {clean} AS c SEMI JOIN repeated USING (row_key) JOIN sources AS s ON c.source = s.source
    WINDOW w AS (
        PARTITION BY c.row_key
        ORDER BY coalesce(c.upstream_split, 'train') IN ('validation', 'test') DESC, s.priority, c.chars DESC, c.row_id
    )
)
SELECT row_id, source, keeper, place = 1 AS kept, size::INTEGER AS size FROM ranked
