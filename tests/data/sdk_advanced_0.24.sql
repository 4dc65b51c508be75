-- A file of the Agents SDK's AdvancedSQLiteSession, openai-agents 0.24.
BEGIN TRANSACTION;
CREATE TABLE agent_messages (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                session_id TEXT NOT NULL,
                message_data TEXT NOT NULL,
                created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
                FOREIGN KEY (session_id) REFERENCES agent_sessions (session_id)
                    ON DELETE CASCADE
            );
INSERT INTO "agent_messages" VALUES(1,'trip','{"role": "user", "content": "Where to?"}','2026-11-23 23:49:36');
INSERT INTO "agent_messages" VALUES(2,'trip','{"type": "message", "id": "msg", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "Oslo", "annotations": []}]}','2026-11-23 23:49:36');
INSERT INTO "agent_messages" VALUES(3,'trip','{"role": "user", "content": "Caf\u00e9 d\u00e9j\u00e0 \ud83c\udf33?"}','2026-11-23 23:49:36');
INSERT INTO "agent_messages" VALUES(4,'trip','{"type": "function_call", "call_id": "c1", "name": "look_up", "arguments": "{}"}','2026-11-23 23:49:36');
INSERT INTO "agent_messages" VALUES(5,'trip','{"type": "function_call_output", "call_id": "c1", "output": "yes"}','2026-11-23 23:49:36');
INSERT INTO "agent_messages" VALUES(6,'trip','{"type": "message", "id": "msg", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "Yes", "annotations": []}]}','2026-11-23 23:49:36');
INSERT INTO "agent_messages" VALUES(7,'trip','{"role": "user", "content": "Why not Rome?"}','2026-11-23 23:49:36');
INSERT INTO "agent_messages" VALUES(8,'trip','{"type": "message", "id": "msg", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "Too hot", "annotations": []}]}','2026-11-23 23:49:36');
CREATE TABLE agent_sessions (
                session_id TEXT PRIMARY KEY,
                created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
                updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
            );
INSERT INTO "agent_sessions" VALUES('trip','2026-11-23 23:49:36','2026-11-23 23:49:36');
CREATE TABLE branch_reservations (
                session_id TEXT NOT NULL,
                branch_id TEXT NOT NULL,
                PRIMARY KEY (session_id, branch_id)
            );
INSERT INTO "branch_reservations" VALUES('trip','main');
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
                FOREIGN KEY (session_id)
                    REFERENCES agent_sessions(session_id) ON DELETE CASCADE,
                FOREIGN KEY (message_id)
                    REFERENCES agent_messages(id) ON DELETE CASCADE
            );
INSERT INTO "message_structure" VALUES(1,'trip',1,'main','user',1,1,1,NULL,'2026-11-23 23:49:36');
INSERT INTO "message_structure" VALUES(2,'trip',2,'main','assistant',2,1,1,NULL,'2026-11-23 23:49:36');
INSERT INTO "message_structure" VALUES(3,'trip',3,'main','user',3,2,2,NULL,'2026-11-23 23:49:36');
INSERT INTO "message_structure" VALUES(4,'trip',4,'main','function_call',4,2,2,'look_up','2026-11-23 23:49:36');
INSERT INTO "message_structure" VALUES(5,'trip',5,'main','function_call_output',5,2,2,NULL,'2026-11-23 23:49:36');
INSERT INTO "message_structure" VALUES(6,'trip',6,'main','assistant',6,2,2,NULL,'2026-11-23 23:49:36');
INSERT INTO "message_structure" VALUES(7,'trip',1,'other','user',7,1,1,NULL,'2026-11-23 23:49:36');
INSERT INTO "message_structure" VALUES(8,'trip',2,'other','assistant',8,1,1,NULL,'2026-11-23 23:49:36');
INSERT INTO "message_structure" VALUES(9,'trip',7,'other','user',9,2,2,NULL,'2026-11-23 23:49:36');
INSERT INTO "message_structure" VALUES(10,'trip',8,'other','assistant',10,2,2,NULL,'2026-11-23 23:49:36');
CREATE TABLE session_clear_generations (
                session_id TEXT PRIMARY KEY,
                generation INTEGER NOT NULL DEFAULT 0
            );
INSERT INTO "session_clear_generations" VALUES('trip',0);
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
                FOREIGN KEY (session_id)
                    REFERENCES agent_sessions(session_id) ON DELETE CASCADE,
                UNIQUE(session_id, branch_id, user_turn_number)
            );
INSERT INTO "turn_usage" VALUES(1,'trip','main',2,2,30,7,37,'{"cache_write_tokens": 0, "cached_tokens": 0, "cache_write_tokens_details": null}','{"reasoning_tokens": 0}','2026-11-23 23:49:36');
CREATE INDEX idx_agent_messages_session_id
            ON agent_messages (session_id, id)
        ;
CREATE INDEX idx_structure_session_seq
            ON message_structure(session_id, sequence_number)
        ;
CREATE INDEX idx_structure_branch
            ON message_structure(session_id, branch_id)
        ;
CREATE INDEX idx_structure_turn
            ON message_structure(session_id, branch_id, user_turn_number)
        ;
CREATE INDEX idx_structure_branch_seq
            ON message_structure(session_id, branch_id, sequence_number)
        ;
CREATE INDEX idx_turn_usage_session_turn
            ON turn_usage(session_id, branch_id, user_turn_number)
        ;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('agent_messages',8);
INSERT INTO "sqlite_sequence" VALUES('message_structure',10);
INSERT INTO "sqlite_sequence" VALUES('turn_usage',1);
COMMIT;
