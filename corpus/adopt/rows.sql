-- The rows of the build that are answered, whether or not they are requests.
INSERT INTO rows SELECT row_id, upstream_split FROM {files} SEMI JOIN answers USING (row_id)
