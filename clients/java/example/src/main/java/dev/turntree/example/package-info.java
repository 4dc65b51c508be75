/** The example program. */
@org.jspecify.annotations.NullMarked
package dev.turntree.example;
