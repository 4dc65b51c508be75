/** The chat memory of LangChain4j's agents, kept by a turntree server. */
@org.jspecify.annotations.NullMarked
package dev.turntree.langchain4j;
