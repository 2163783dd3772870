-- Every upstream record is in a row or rejected: counted by the framing, and again by the ordinals that rows and rejects name.
WITH named AS (
    SELECT source, file, unnest(coalesce(records, [record])) AS record, coalesce(byte_offset, -1) AS place FROM rows
    UNION
    SELECT source, file, record, coalesce(byte_offset, -1) FROM rejects
),
counted AS (
    SELECT source, file, count(*) AS named FROM named GROUP BY source, file
)
SELECT f.source, f.file, f.records, f.row_records, f.rejects, c.named
FROM files AS f LEFT JOIN counted AS c ON f.source = c.source AND f.file = c.file
WHERE f.records <> f.row_records + f.rejects OR f.records <> coalesce(c.named, 0)
