-- Damaged records that were read after all, and how.
SELECT source, file, record, recovered FROM rows WHERE recovered IS NOT NULL ORDER BY source, file, record
