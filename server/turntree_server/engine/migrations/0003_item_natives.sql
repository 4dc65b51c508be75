-- The native form of an item: an SDK's own JSON, in its dialect, beside the item that every reader understands.
CREATE TABLE turntree_item_natives (
    message_id INTEGER PRIMARY KEY,
    dialect TEXT NOT NULL,
    native BLOB NOT NULL
);

-- Whoever deletes a message, the SDK's own class too, deletes its native form.
CREATE TRIGGER turntree_item_natives_go AFTER DELETE ON agent_messages BEGIN
    DELETE FROM turntree_item_natives WHERE message_id = OLD.id;
END;
