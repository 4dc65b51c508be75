/** Real servers for tests. */
@org.jspecify.annotations.NullMarked
package dev.turntree.testing;
