-- The session whose item an answer holds, so that the item goes when the session is cleared or deleted.
ALTER TABLE turntree_requests ADD COLUMN item_session_id TEXT;

CREATE INDEX turntree_requests_by_item_session ON turntree_requests (item_session_id)
    WHERE item_session_id IS NOT NULL;

-- The branches that software without reservations made.
INSERT INTO branch_reservations (session_id, branch_id)
    SELECT DISTINCT session_id, branch_id FROM message_structure WHERE branch_id <> 'main'
    ON CONFLICT DO NOTHING;
