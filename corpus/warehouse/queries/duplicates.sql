-- The 50 largest groups of duplicates: how many of their rows were kept, the sources they come from, and how the first and the last row begin.
WITH largest AS (
    SELECT cluster_id, any_value(size) AS size, count(*) FILTER (WHERE kept) AS kept, list(DISTINCT source ORDER BY source) AS sources,
        max(row_id) FILTER (WHERE row_id <> cluster_id) AS another
    FROM clusters GROUP BY cluster_id ORDER BY size DESC, cluster_id LIMIT 50
),
spoken AS (
    SELECT row_id, coalesce(text, array_to_string(list_transform(list_concat(messages, chosen), lambda m: m.content), ' ⏎ ')) AS said
    FROM clean SEMI JOIN (SELECT cluster_id AS row_id FROM largest UNION SELECT another FROM largest) USING (row_id)
)
SELECT c.cluster_id AS kept_row_id, c.size, c.kept, c.sources, replace(left(f.said, 120), chr(10), ' ') AS text,
    c.another AS other_row_id, replace(left(o.said, 120), chr(10), ' ') AS other_text
FROM largest AS c JOIN spoken AS f ON c.cluster_id = f.row_id JOIN spoken AS o ON c.another = o.row_id
ORDER BY c.size DESC, c.cluster_id
