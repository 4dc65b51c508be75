/** The client of turntree: session memory for AI agents, served over gRPC. */
@org.jspecify.annotations.NullMarked
package dev.turntree;
