"""`python -m turntree_server` is the command `turntree`."""

from turntree_server.cli import main

main()
