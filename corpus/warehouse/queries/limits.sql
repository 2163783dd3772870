-- What the limits of the recipe's filter dropped: how many rows of each source by each rule, with the least, median and greatest value.
SELECT rule, source, count(*) AS rows, any_value(bound) AS bound, min(value) AS least, quantile_disc(value, 0.5) AS median, max(value) AS most
FROM dropped WHERE reason = 'limit' GROUP BY rule, source ORDER BY rule, rows DESC, source
