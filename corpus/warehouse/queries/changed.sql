-- Rows that a rule changed, ten of each source; `corpus why` shows each change. Parameter: the rule.
SELECT source, row_id, changed_by FROM clean WHERE list_contains(changed_by, $rule)
QUALIFY row_number() OVER (PARTITION BY source ORDER BY row_id) <= 10 ORDER BY source, row_id
