-- Which row goes to which split.
--
-- The unit is the prompt: all rows with one prompt go to one of the splits that exclude each other, so that none of them shares a prompt
-- with another. Among the splits that could take a prompt, weighted rendezvous hashing chooses: the score depends on the
-- prompt, the split and the seed alone, so adding a source moves no prompt that was there before.
--
-- {clean}, {dropped}: clean partitions, and the ledger of the stages between. Tables: `splits(split, weight, rows, eval, shared, upstream, asks, spoken)`,
-- `takes(split, kind, source)` (every combination a split accepts), `per_source(split, source, rows)`, `parts(path, number)`,
-- `protected(source)` (all rows of these are as if marked test); `$seed`.
CREATE TEMP TABLE alive AS
SELECT
    c.row_id, c.source, c.kind, c.asks, md5(c.prompt_key::VARCHAR) AS prompt, 
    CASE WHEN c.source IN (SELECT source FROM protected) THEN 'test' ELSE coalesce(c.upstream_split, 'train') END AS upstream, p.number AS partition
FROM {clean} AS c JOIN parts AS p ON c.filename = p.path ANTI JOIN (SELECT row_id FROM {dropped}) AS d USING (row_id);

-- Every split that could take a row. What is to be answered must ask: a prompt that ends with an answer, or an empty one (rankings of texts), is no
-- use to splits whose `asks` is set, and a document without a title to splits of conversations (`spoken`).
CREATE TEMP TABLE could AS
SELECT a.row_id, a.source, a.prompt, a.partition, a.upstream, s.split, s.shared, s.weight
FROM alive AS a
JOIN takes AS t ON a.kind = t.kind AND a.source = t.source
JOIN splits AS s ON t.split = s.split
WHERE (a.asks OR NOT (s.asks OR (s.spoken AND a.kind = 'document')))
  AND CASE WHEN len(s.upstream) > 0 THEN list_contains(s.upstream, a.upstream) ELSE a.upstream = 'train' END;

-- One exclusive split for each prompt. u is uniform in (0, 1]; -ln(u) / weight is the classic weighted rendezvous score.
CREATE TEMP TABLE chosen AS
SELECT prompt, arg_min(split, (score, split)) AS split
FROM (
    SELECT DISTINCT prompt, split,
        -ln((md5_number_upper(prompt || split || $seed) // 2048 + 1)::DOUBLE / 9007199254740993.0) / weight AS score
    FROM could WHERE NOT shared
)
GROUP BY prompt;

CREATE TEMP TABLE offered AS
SELECT c.row_id, c.source, c.prompt, c.partition, c.upstream, c.split, md5(c.row_id || c.split || $seed) AS ticket
FROM could AS c LEFT JOIN chosen AS x USING (prompt)
WHERE c.shared OR c.split = x.split;

-- Caps: the rows with the lowest tickets, first of each source, then of the split.
CREATE TEMP TABLE given AS
SELECT o.row_id, o.source, o.prompt, o.partition, o.upstream, o.split
FROM (
    SELECT *, row_number() OVER (PARTITION BY split ORDER BY ticket, row_id) AS place
    FROM (
        SELECT o.*, row_number() OVER (PARTITION BY o.split, o.source ORDER BY o.ticket, o.row_id) AS place_in_source, q.rows AS source_rows
        FROM offered AS o LEFT JOIN per_source AS q ON o.split = q.split AND o.source = q.source
    )
    WHERE source_rows IS NULL OR place_in_source <= source_rows
) AS o
JOIN splits AS s ON o.split = s.split
WHERE s.rows IS NULL OR o.place <= s.rows;

-- What a publisher holds out is held out here as well.
CREATE TEMP TABLE assigned AS
SELECT
    g.partition, g.row_id, g.source, g.split,
    CASE
        WHEN g.split = 'test' THEN 'test'
        WHEN g.upstream <> 'train' THEN 'eval'
        WHEN (md5_number_upper(g.prompt || 'eval' || g.split || $seed) // 2048)::DOUBLE / 9007199254740992.0 < s.eval THEN 'eval'
        ELSE 'train'
    END AS part
FROM given AS g JOIN splits AS s ON g.split = s.split
