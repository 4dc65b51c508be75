/** The chat memory and the sessions of Spring AI's agents, kept by a turntree server. */
@org.jspecify.annotations.NullMarked
package dev.turntree.springai;
