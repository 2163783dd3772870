-- How much of what each source says is stock, said in row after row: its shingles, and in which share of the source's rows the most and the least frequent of them occur.
SELECT source, count(*) AS shingles, round(max(share), 4) AS most, round(median(share), 4) AS median, round(min(share), 4) AS least
FROM stock GROUP BY source ORDER BY shingles DESC, source
