-- What turntree adds, in tables of its own.

-- Tells this database from every other, so that cursors and page tokens mean nothing elsewhere.
CREATE TABLE turntree_database (
    database_id BLOB NOT NULL
);

INSERT INTO turntree_database (database_id) VALUES (randomblob(16));

-- Sessions with an expiry, in milliseconds since the epoch.
CREATE TABLE turntree_sessions (
    session_id TEXT PRIMARY KEY,
    expire_time INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX turntree_sessions_by_expiry ON turntree_sessions (expire_time);

CREATE TABLE turntree_labels (
    session_id TEXT NOT NULL,
    label_key TEXT NOT NULL,
    label_value TEXT NOT NULL,
    PRIMARY KEY (session_id, label_key)
) WITHOUT ROWID;

CREATE INDEX turntree_labels_by_value ON turntree_labels (label_key, label_value, session_id);

-- Where each branch was forked from.
CREATE TABLE turntree_branches (
    session_id TEXT NOT NULL,
    branch_id TEXT NOT NULL,
    source_branch_id TEXT NOT NULL,
    fork_turn INTEGER NOT NULL,
    create_time INTEGER NOT NULL,
    PRIMARY KEY (session_id, branch_id)
) WITHOUT ROWID;

-- The first answer to each mutation, for a repeat of it.
CREATE TABLE turntree_requests (
    id INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL UNIQUE,
    fingerprint BLOB NOT NULL,
    response BLOB NOT NULL,
    create_time INTEGER NOT NULL
);

-- Finds the branches that still show a message, and the sessions by activity.
CREATE INDEX turntree_structure_by_message ON message_structure (message_id);
CREATE INDEX turntree_sessions_by_activity ON agent_sessions (updated_at, session_id);
