"""The rules of turntree as operations: generators that yield SQL and receive rows, and never touch a database.

An operation is one transaction. It yields a `Statement`, is sent the rows back, and returns its result or raises an
error of `turntree.errors`, which undoes it. So each rule is written once, for every engine.
"""
