-- History of complete builds of all recipes.
CREATE TABLE builds(recipe VARCHAR, data VARCHAR, finished VARCHAR, fingerprint VARCHAR, version VARCHAR);
COMMENT ON TABLE builds IS 'History of complete builds, the newest last.';
COMMENT ON COLUMN builds.recipe IS 'the recipe';
COMMENT ON COLUMN builds.data IS 'the data folder';
COMMENT ON COLUMN builds.finished IS 'when it ended, in UTC';
COMMENT ON COLUMN builds.fingerprint IS 'equal for equal warehouses';
COMMENT ON COLUMN builds.version IS 'version of corpus';
