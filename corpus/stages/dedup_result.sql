-- What became of every row that is equal or near to another.
-- Tables: `alive` and `equal` of dedup.sql; `verdicts(number, keeper, jaccard, component)` of the rows that were judged.
CREATE TEMP TABLE found AS
WITH all_rows AS (
    -- A row that is equal to another shares what became of that one.
    SELECT
        a.number, a.row_id, a.source, a.place, e.first AS stands_for, coalesce(e.again, false) AS again,
        v.component, v.keeper, v.jaccard,
        coalesce(e.first, a.number) AS own
    FROM alive AS a
    LEFT JOIN equal AS e ON a.number = e.number
    LEFT JOIN verdicts AS v ON v.number = CASE WHEN coalesce(e.again, false) THEN e.first ELSE a.number END
)
SELECT
    number, row_id, source, place,
    coalesce(component, own) AS component,
    again AND keeper IS NULL AS is_equal,
    keeper IS NOT NULL AS is_near,
    CASE WHEN keeper IS NOT NULL THEN keeper WHEN again THEN stands_for END AS keeper,
    CASE WHEN keeper IS NOT NULL THEN jaccard WHEN again THEN 1.0 END AS jaccard,
    again AND keeper IS NOT NULL AS by_another
FROM all_rows
WHERE again OR stands_for IS NOT NULL OR component IS NOT NULL;
