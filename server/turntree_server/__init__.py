"""The turntree server: operations on an engine, behind gRPC or in process."""

__version__ = "0.1.0"
