-- A file of the Agents SDK's SQLiteSession, openai-agents 0.24.
BEGIN TRANSACTION;
CREATE TABLE agent_messages (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                session_id TEXT NOT NULL,
                message_data TEXT NOT NULL,
                created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
                FOREIGN KEY (session_id) REFERENCES agent_sessions (session_id)
                    ON DELETE CASCADE
            );
INSERT INTO "agent_messages" VALUES(1,'plain','{"role": "user", "content": "one"}','2026-11-23 23:49:36');
INSERT INTO "agent_messages" VALUES(2,'plain','{"type": "message", "id": "msg", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "first", "annotations": []}]}','2026-11-23 23:49:36');
INSERT INTO "agent_messages" VALUES(3,'plain','{"role": "user", "content": "two"}','2026-11-23 23:49:36');
INSERT INTO "agent_messages" VALUES(4,'plain','{"type": "message", "id": "msg", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "second", "annotations": []}]}','2026-11-23 23:49:36');
CREATE TABLE agent_sessions (
                session_id TEXT PRIMARY KEY,
                created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
                updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
            );
INSERT INTO "agent_sessions" VALUES('plain','2026-11-23 23:49:36','2026-11-23 23:49:36');
CREATE INDEX idx_agent_messages_session_id
            ON agent_messages (session_id, id)
        ;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('agent_messages',4);
COMMIT;
