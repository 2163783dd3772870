-- Rows that a rule changed, ten of each source; `corpus why` shows each change. Parameter: the rule.
WITH wanted AS (
    SELECT CASE WHEN count(*) = 0 THEN error('no row was changed by a rule ' || $rule || '; `corpus sql rules` lists those that changed any') ELSE $rule END AS rule
    FROM clean WHERE list_contains(changed_by, $rule)
)
SELECT source, row_id, changed_by FROM clean, wanted WHERE list_contains(changed_by, wanted.rule)
QUALIFY row_number() OVER (PARTITION BY source ORDER BY row_id) <= 10 ORDER BY source, row_id
