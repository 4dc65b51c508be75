-- Indexes of the Agents SDK that are the beginning of another one, or another one again: no query is slower without them,
-- and every write is faster. The SDK's class makes them anew when it is opened with create_tables, which does no harm.
DROP INDEX IF EXISTS idx_structure_branch;
DROP INDEX IF EXISTS idx_turn_usage_session_turn;
