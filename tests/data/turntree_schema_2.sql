-- A file of turntree with schema 2.
BEGIN TRANSACTION;
CREATE TABLE agent_messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT NOT NULL,
    message_data TEXT NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (session_id) REFERENCES agent_sessions (session_id) ON DELETE CASCADE
);
INSERT INTO "agent_messages" VALUES(1,'trip','{"role":"user","content":"q1"}','2026-11-23 23:49:36');
INSERT INTO "agent_messages" VALUES(2,'trip','{"type":"message","role":"assistant","content":[{"type":"output_text","text":"a1"}]}','2026-11-23 23:49:36');
INSERT INTO "agent_messages" VALUES(3,'trip','{"role":"user","content":"q2"}','2026-11-23 23:49:36');
INSERT INTO "agent_messages" VALUES(4,'trip','{"type":"message","role":"assistant","content":[{"type":"output_text","text":"a2"}]}','2026-11-23 23:49:36');
INSERT INTO "agent_messages" VALUES(5,'trip','{"role":"user","content":"q3"}','2026-11-23 23:49:36');
INSERT INTO "agent_messages" VALUES(6,'trip','{"type":"message","role":"assistant","content":[{"type":"output_text","text":"a3"}]}','2026-11-23 23:49:36');
INSERT INTO "agent_messages" VALUES(7,'trip','{"role":"user","content":"Café 🌳?"}','2026-11-23 23:49:36');
INSERT INTO "agent_messages" VALUES(8,'trip','{"type":"function_call","call_id":"c1","name":"look_up","arguments":"{}"}','2026-11-23 23:49:36');
INSERT INTO "agent_messages" VALUES(9,'trip','{"type":"function_call_output","call_id":"c1","output":"done"}','2026-11-23 23:49:36');
INSERT INTO "agent_messages" VALUES(13,'cleared','{"role":"user","content":"again"}','2026-11-23 23:49:36');
CREATE TABLE agent_sessions (
    session_id TEXT PRIMARY KEY,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
INSERT INTO "agent_sessions" VALUES('trip','2026-11-23 23:49:36','2026-11-23 23:49:36');
INSERT INTO "agent_sessions" VALUES('cleared','2026-11-23 23:49:36','2026-11-23 23:49:36');
CREATE TABLE branch_reservations (
    session_id TEXT NOT NULL,
    branch_id TEXT NOT NULL,
    PRIMARY KEY (session_id, branch_id)
);
INSERT INTO "branch_reservations" VALUES('trip','other');
CREATE TABLE message_structure (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT NOT NULL,
    message_id INTEGER NOT NULL,
    branch_id TEXT NOT NULL DEFAULT 'main',
    message_type TEXT NOT NULL,
    sequence_number INTEGER NOT NULL,
    user_turn_number INTEGER,
    branch_turn_number INTEGER,
    tool_name TEXT,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (session_id) REFERENCES agent_sessions (session_id) ON DELETE CASCADE,
    FOREIGN KEY (message_id) REFERENCES agent_messages (id) ON DELETE CASCADE
);
INSERT INTO "message_structure" VALUES(1,'trip',1,'main','user',1,1,1,NULL,'2026-11-23 23:49:36');
INSERT INTO "message_structure" VALUES(2,'trip',2,'main','assistant',2,1,1,NULL,'2026-11-23 23:49:36');
INSERT INTO "message_structure" VALUES(3,'trip',3,'main','user',3,2,2,NULL,'2026-11-23 23:49:36');
INSERT INTO "message_structure" VALUES(4,'trip',4,'main','assistant',4,2,2,NULL,'2026-11-23 23:49:36');
INSERT INTO "message_structure" VALUES(5,'trip',5,'main','user',5,3,3,NULL,'2026-11-23 23:49:36');
INSERT INTO "message_structure" VALUES(6,'trip',6,'main','assistant',6,3,3,NULL,'2026-11-23 23:49:36');
INSERT INTO "message_structure" VALUES(7,'trip',1,'other','user',7,1,1,NULL,'2026-11-23 23:49:36');
INSERT INTO "message_structure" VALUES(8,'trip',2,'other','assistant',8,1,1,NULL,'2026-11-23 23:49:36');
INSERT INTO "message_structure" VALUES(9,'trip',3,'other','user',9,2,2,NULL,'2026-11-23 23:49:36');
INSERT INTO "message_structure" VALUES(10,'trip',4,'other','assistant',10,2,2,NULL,'2026-11-23 23:49:36');
INSERT INTO "message_structure" VALUES(11,'trip',7,'other','user',11,3,3,NULL,'2026-11-23 23:49:36');
INSERT INTO "message_structure" VALUES(12,'trip',8,'other','function_call',12,3,3,'look_up','2026-11-23 23:49:36');
INSERT INTO "message_structure" VALUES(13,'trip',9,'other','function_call_output',13,3,3,NULL,'2026-11-23 23:49:36');
INSERT INTO "message_structure" VALUES(17,'cleared',13,'main','user',1,1,1,NULL,'2026-11-23 23:49:36');
CREATE TABLE session_clear_generations (
    session_id TEXT PRIMARY KEY,
    generation INTEGER NOT NULL DEFAULT 0
);
INSERT INTO "session_clear_generations" VALUES('trip',0);
INSERT INTO "session_clear_generations" VALUES('cleared',1);
CREATE TABLE turn_usage (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT NOT NULL,
    branch_id TEXT NOT NULL DEFAULT 'main',
    user_turn_number INTEGER NOT NULL,
    requests INTEGER DEFAULT 0,
    input_tokens INTEGER DEFAULT 0,
    output_tokens INTEGER DEFAULT 0,
    total_tokens INTEGER DEFAULT 0,
    input_tokens_details JSON,
    output_tokens_details JSON,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (session_id) REFERENCES agent_sessions (session_id) ON DELETE CASCADE,
    UNIQUE (session_id, branch_id, user_turn_number)
);
INSERT INTO "turn_usage" VALUES(1,'trip','main',3,2,30,7,37,'{"cached_tokens": 3}',NULL,'2026-11-23 23:49:36');
CREATE TABLE turntree_branches (
    session_id TEXT NOT NULL,
    branch_id TEXT NOT NULL,
    source_branch_id TEXT NOT NULL,
    fork_turn INTEGER NOT NULL,
    create_time INTEGER NOT NULL,
    PRIMARY KEY (session_id, branch_id)
) WITHOUT ROWID;
INSERT INTO "turntree_branches" VALUES('trip','other','main',2,1795477776944);
CREATE TABLE turntree_database (
    database_id BLOB NOT NULL
);
INSERT INTO "turntree_database" VALUES(X'A163459DD0DA91B1FDE62E4CBB30649F');
CREATE TABLE turntree_labels (
    session_id TEXT NOT NULL,
    label_key TEXT NOT NULL,
    label_value TEXT NOT NULL,
    PRIMARY KEY (session_id, label_key)
) WITHOUT ROWID;
INSERT INTO "turntree_labels" VALUES('trip','user','ada');
CREATE TABLE turntree_migrations (
                number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
            );
INSERT INTO "turntree_migrations" VALUES(1,'0001_agents_sdk','2026-11-23 23:49:36');
INSERT INTO "turntree_migrations" VALUES(2,'0002_turntree','2026-11-23 23:49:36');
CREATE TABLE turntree_requests (
    id INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL UNIQUE,
    fingerprint BLOB NOT NULL,
    response BLOB NOT NULL,
    create_time INTEGER NOT NULL
);
INSERT INTO "turntree_requests" VALUES(1,'r1',X'88155968841887F40B25B1DDA319E069',X'84A66272616E636882A96272616E63685F6964A46D61696EAA67656E65726174696F6E00A6637572736F72C419012D692E94DD65AF0F00000000000000010000000000000006A47475726E03AF70726576696F75735F637572736F72C419012D692E94DD65AF0F00000000000000000000000000000000',1795477776942);
INSERT INTO "turntree_requests" VALUES(2,'r2',X'C4DD2F6AC9CE4DF2C03FDA167295E0A0',X'83A87265636F72646564C3A47475726E03A66272616E636882A96272616E63685F6964A46D61696EAA67656E65726174696F6E00',1795477776944);
INSERT INTO "turntree_requests" VALUES(3,'r3',X'827A936127A66134C888F34A9CE9EC3E',X'84A66272616E636882A96272616E63685F6964A56F74686572AA67656E65726174696F6E00A6637572736F72C41901EA3639AC4695FED70000000000000007000000000000000EA47475726E03AF70726576696F75735F637572736F72C41901EA3639AC4695FED70000000000000007000000000000000A',1795477776945);
INSERT INTO "turntree_requests" VALUES(4,'r4',X'6954E2F04125862DC44175FB238C00EA',X'83A46974656DC4557B2274797065223A226D657373616765222C22726F6C65223A22617373697374616E74222C22636F6E74656E74223A5B7B2274797065223A226F75747075745F74657874222C2274657874223A22796573227D5D7DA66272616E636882A96272616E63685F6964A56F74686572AA67656E65726174696F6E00A6637572736F72C41901EA3639AC4695FED70000000000000007000000000000000D',1795477776946);
CREATE TABLE turntree_sessions (
    session_id TEXT PRIMARY KEY,
    expire_time INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX idx_agent_messages_session_id ON agent_messages (session_id, id);
CREATE INDEX idx_structure_session_seq ON message_structure (session_id, sequence_number);
CREATE INDEX idx_structure_branch ON message_structure (session_id, branch_id);
CREATE INDEX idx_structure_turn ON message_structure (session_id, branch_id, user_turn_number);
CREATE INDEX idx_structure_branch_seq ON message_structure (session_id, branch_id, sequence_number);
CREATE INDEX idx_turn_usage_session_turn ON turn_usage (session_id, branch_id, user_turn_number);
CREATE INDEX turntree_sessions_by_expiry ON turntree_sessions (expire_time);
CREATE INDEX turntree_labels_by_value ON turntree_labels (label_key, label_value, session_id);
CREATE INDEX turntree_structure_by_message ON message_structure (message_id);
CREATE INDEX turntree_sessions_by_activity ON agent_sessions (updated_at, session_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('agent_messages',13);
INSERT INTO "sqlite_sequence" VALUES('message_structure',17);
INSERT INTO "sqlite_sequence" VALUES('turn_usage',1);
COMMIT;
