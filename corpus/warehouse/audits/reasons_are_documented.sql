-- Every reason is one of the documented ones.
SELECT 'reject' AS list, reason, count(*) AS times FROM rejects WHERE reason NOT IN (SELECT reason FROM reasons WHERE list = 'reject') GROUP BY reason
UNION ALL
SELECT 'drop', reason, count(*) FROM dropped WHERE reason NOT IN (SELECT reason FROM reasons WHERE list = 'drop') GROUP BY reason
