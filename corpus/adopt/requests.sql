-- The requests of one split that the run answers, from the files of the build.
INSERT INTO requests
SELECT $rank, 0, row_id, $split, source, subset, license, NULL, prompt, chosen, text
FROM {files} SEMI JOIN answers USING (row_id) WHERE repeat = 0
