-- What an adoption joins: the answers of the run, and every request that they may answer.
CREATE TABLE answers(
    seq BIGINT, file VARCHAR, line BIGINT, row_id VARCHAR, split VARCHAR, n BIGINT, answer VARCHAR, finished BOOLEAN,
    prompt STRUCT(role VARCHAR, content VARCHAR)[], rendered VARCHAR, more VARCHAR
);
CREATE TABLE requests(
    rank INTEGER, seq BIGINT, row_id VARCHAR, split VARCHAR, source VARCHAR, subset VARCHAR, license VARCHAR, upstream_split VARCHAR,
    prompt STRUCT(role VARCHAR, content VARCHAR)[], chosen STRUCT(role VARCHAR, content VARCHAR)[], text VARCHAR
);
CREATE TABLE rows(row_id VARCHAR, upstream_split VARCHAR);
