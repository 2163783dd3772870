-- A row in the ledger is in no split.
SELECT s.split, s.row_id, d.stage, d.reason FROM splits AS s JOIN dropped AS d USING (row_id)
