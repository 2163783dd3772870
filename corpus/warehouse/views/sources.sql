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
;
COMMENT ON VIEW sources IS 'What each source gave and what became of it.';
COMMENT ON COLUMN sources.about IS 'what it is';
COMMENT ON COLUMN sources.address IS 'where its publisher describes it';
COMMENT ON COLUMN sources.priority IS 'lower numbers win among equal rows';
COMMENT ON COLUMN sources.files IS 'upstream files';
COMMENT ON COLUMN sources.records IS 'upstream records';
COMMENT ON COLUMN sources.rows IS 'rows made of them';
COMMENT ON COLUMN sources.rejects IS 'records that could not become a row';
COMMENT ON COLUMN sources.dropped IS 'rows that no split holds';
COMMENT ON COLUMN sources.kept IS 'rows in a split';
