/**
 * Lists of messages kept in turntree: what the adapters to agent frameworks have in common. A
 * framework reads a whole list and writes a whole list; {@link dev.turntree.memory.Conversations}
 * turns that into conditional reads and one change of the end of a branch.
 */
@org.jspecify.annotations.NullMarked
package dev.turntree.memory;
