-- What the clusters say was kept is what the ledger does not have as a duplicate, and every duplicate is in the cluster of the row it names.
SELECT c.row_id, c.cluster_id, c.kept, 'the ledger says otherwise' AS problem FROM clusters AS c
LEFT JOIN (SELECT row_id FROM dropped WHERE stage = 'dedup') AS d ON c.row_id = d.row_id WHERE c.kept = (d.row_id IS NOT NULL)
UNION ALL
SELECT d.row_id, c.cluster_id, c.kept, 'not in one cluster with the kept row' FROM dropped AS d
LEFT JOIN clusters AS c ON d.row_id = c.row_id LEFT JOIN clusters AS k ON d.kept_row_id = k.row_id
WHERE d.stage = 'dedup' AND (c.cluster_id IS DISTINCT FROM k.cluster_id OR c.cluster_id IS NULL)
