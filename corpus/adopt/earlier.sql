-- The requests that the run answers and that were adopted before: the build holds them no more.
INSERT INTO requests SELECT $rank, * FROM incoming SEMI JOIN answers USING (row_id)
