SELECT t.reason, any_value(m.meaning) AS meaning, count(*) AS count
FROM dropped AS t LEFT JOIN (SELECT * FROM reasons WHERE list = 'drop') AS m ON t.reason = m.reason
GROUP BY t.reason ORDER BY count DESC, t.reason
