-- The files of the splits hold exactly the rows that were assigned to them.
(SELECT split, part, row_id, 'assigned, not in the split' AS problem FROM assigned
 EXCEPT SELECT split, part, row_id, 'assigned, not in the split' FROM splits)
UNION ALL
(SELECT split, part, row_id, 'in the split, not assigned' AS problem FROM splits
 EXCEPT SELECT split, part, row_id, 'in the split, not assigned' FROM assigned)
