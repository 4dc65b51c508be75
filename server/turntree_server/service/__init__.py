"""The gRPC face of a store. Each handler calls and converts; the store checks, and one interceptor maps errors."""
