-- The catalog's small tables; everything else in it is a view over parquet.
CREATE TABLE files(
    source VARCHAR, file VARCHAR, container VARCHAR, encoding VARCHAR,
    records BIGINT, row_records BIGINT, rows BIGINT, rejects BIGINT, recovered BIGINT
);
COMMENT ON TABLE files IS 'The account of every upstream file: its records are in rows or rejected.';
COMMENT ON COLUMN files.container IS 'what was found in it';
COMMENT ON COLUMN files.encoding IS 'the encoding that was found';
COMMENT ON COLUMN files.records IS 'records as the framing counted them';
COMMENT ON COLUMN files.row_records IS 'records that are in rows';
COMMENT ON COLUMN files.rows IS 'rows made of them';
COMMENT ON COLUMN files.rejects IS 'rejected records';
COMMENT ON COLUMN files.recovered IS 'damaged records that were read after all';

CREATE TABLE source_list(
    source VARCHAR, about VARCHAR, address VARCHAR, license VARCHAR, priority INTEGER, key VARCHAR, protect BOOLEAN
);
COMMENT ON TABLE source_list IS 'The sources of the recipe; the view sources adds the counts.';
COMMENT ON COLUMN source_list.about IS 'what it is';
COMMENT ON COLUMN source_list.address IS 'where its publisher describes it';
COMMENT ON COLUMN source_list.license IS 'terms as the publisher states them';
COMMENT ON COLUMN source_list.priority IS 'lower numbers win among equal rows';
COMMENT ON COLUMN source_list.key IS 'what of a row is compared with other rows: whole, prompt, answer, or exact for the whole without near duplicates';
COMMENT ON COLUMN source_list.protect IS 'whether all its rows are evaluation rows';

CREATE TABLE settings(key VARCHAR, value VARCHAR);
COMMENT ON TABLE settings IS 'The recipe, with its defaults: one value a line.';
COMMENT ON COLUMN settings.key IS 'the key, as in dedup.threshold';
COMMENT ON COLUMN settings.value IS 'its value; as JSON where it is a list';

CREATE TABLE split_list(split VARCHAR, stage VARCHAR, shared BOOLEAN);
COMMENT ON TABLE split_list IS 'The splits of the recipe; shared ones may hold rows of others.';
COMMENT ON COLUMN split_list.split IS 'the split';
COMMENT ON COLUMN split_list.stage IS 'the split as the recipe names it, which for requests is the one that they are for';
COMMENT ON COLUMN split_list.shared IS 'whether its rows may be in other splits as well';

CREATE TABLE partitions(
    stage VARCHAR, key VARCHAR, fingerprint VARCHAR, table_name VARCHAR, path VARCHAR, rows BIGINT, bytes BIGINT, sha256 VARCHAR
);
COMMENT ON TABLE partitions IS 'Every partition of the build: the stage that made it, from what, and its files.';
COMMENT ON COLUMN partitions.stage IS 'the stage';
COMMENT ON COLUMN partitions.key IS 'which partition of the stage';
COMMENT ON COLUMN partitions.fingerprint IS 'hash of everything that can change its bytes';
COMMENT ON COLUMN partitions.table_name IS 'the table that the file is a part of';
COMMENT ON COLUMN partitions.path IS 'the file, below the warehouse';
COMMENT ON COLUMN partitions.rows IS 'rows in it';
COMMENT ON COLUMN partitions.bytes IS 'its size';
COMMENT ON COLUMN partitions.sha256 IS 'its hash';

CREATE TABLE reasons(list VARCHAR, reason VARCHAR, meaning VARCHAR);
COMMENT ON TABLE reasons IS 'What the reasons of rejects and drops mean.';
COMMENT ON COLUMN reasons.list IS 'reject or drop';
COMMENT ON COLUMN reasons.reason IS 'the reason';
COMMENT ON COLUMN reasons.meaning IS 'what it means';
