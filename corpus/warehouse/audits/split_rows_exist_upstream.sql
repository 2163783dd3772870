-- Every row of a split is a row that was read from upstream.
SELECT split, row_id FROM splits ANTI JOIN rows USING (row_id)
