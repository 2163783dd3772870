-- Sources with their files, records, rows, rejects and what was kept.
SELECT source, files, records, rows, rejects, dropped, kept, license FROM sources ORDER BY source
