SELECT
    count(DISTINCT source) AS sources, count(*) AS files, sum(records)::BIGINT AS records, sum(rows)::BIGINT AS rows,
    sum(rejects)::BIGINT AS rejects, sum(recovered)::BIGINT AS recovered, (SELECT count(*) FROM dropped) AS dropped,
    sum(rows)::BIGINT - (SELECT count(*) FROM dropped) AS kept
FROM files
