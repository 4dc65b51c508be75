/** The conformance program. */
@org.jspecify.annotations.NullMarked
package dev.turntree.conformance;
