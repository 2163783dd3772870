-- Which records could not become rows: reasons by file, with one example each.
SELECT source, file, reason, count(*) AS records, any_value(detail) AS example FROM rejects GROUP BY ALL ORDER BY records DESC, source, file, reason
