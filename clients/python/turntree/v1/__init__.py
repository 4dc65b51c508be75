"""Generated from protos/turntree/v1 by `make proto`."""
