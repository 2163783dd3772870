CREATE VIEW sources AS
SELECT
    s.source, s.about, s.address, s.license, s.priority,
    f.files, f.records, f.rows, f.rejects,
    coalesce(d.dropped, 0) AS dropped,
    f.rows - coalesce(d.dropped, 0) AS kept
FROM source_list AS s
LEFT JOIN (
    SELECT source, count(*) AS files, sum(records)::BIGINT AS records, sum(rows)::BIGINT AS rows, sum(rejects)::BIGINT AS rejects
    FROM files GROUP BY source
) AS f ON s.source = f.source
LEFT JOIN (SELECT source, count(*) AS dropped FROM dropped GROUP BY source) AS d ON s.source = d.source
ORDER BY s.source
