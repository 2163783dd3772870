-- A split holds every row as often as it was assigned: once, unless the recipe repeats its source.
SELECT s.split, s.row_id, count(*) AS times, any_value(a.copies) AS assigned FROM splits AS s
JOIN assigned AS a ON s.row_id = a.row_id AND s.split = a.split GROUP BY s.split, s.row_id HAVING count(*) <> any_value(a.copies)
