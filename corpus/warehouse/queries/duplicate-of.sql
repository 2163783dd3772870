-- What a row duplicated: the kept row, how similar they are, and its text.
SELECT d.row_id, d.reason, d.detail, d.jaccard, d.kept_row_id, r.source AS kept_source, r.file AS kept_file, r.record AS kept_record, coalesce(r.text, array_to_string(list_transform(list_concat(r.messages, r.chosen), lambda m: m.role || ': ' || m.content), chr(10))) AS kept_text
FROM dropped AS d LEFT JOIN rows AS r ON d.kept_row_id = r.row_id
WHERE d.row_id = $row_id
