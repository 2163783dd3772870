-- Every near duplicate is as similar to the row that was kept as the recipe asks for, and the pair was compared and accepted with that similarity.
-- A row that is equal to another shares its fate: then it is the other one that was compared.
WITH near AS (
    SELECT row_id, kept_row_id, jaccard, detail FROM dropped WHERE reason = 'near_duplicate'
),
equal AS (
    SELECT row_id, other_id FROM pairs WHERE accepted AND jaccard = 1 AND prompts IS NULL AND answers IS NULL
),
shared AS (
    SELECT n.row_id, e.other_id AS compared, n.kept_row_id, n.jaccard FROM near AS n JOIN equal AS e ON n.row_id = e.row_id WHERE n.detail IS NOT NULL
    UNION ALL
    SELECT row_id, row_id, kept_row_id, jaccard FROM near WHERE detail IS NULL
)
SELECT row_id, kept_row_id, jaccard, 'not as similar as the recipe asks for' AS problem FROM near
WHERE jaccard IS NULL OR jaccard < (SELECT value::DOUBLE FROM settings WHERE key = 'dedup.threshold')
UNION ALL
SELECT n.row_id, n.kept_row_id, n.jaccard, 'no accepted pair says so' FROM near AS n
WHERE NOT EXISTS (
    SELECT 1 FROM shared AS s JOIN pairs AS p ON s.compared = p.row_id AND s.kept_row_id = p.other_id
    WHERE s.row_id = n.row_id AND p.accepted AND p.jaccard = n.jaccard
)
