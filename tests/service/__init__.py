"""A real server on a real socket: what goes over the wire, and how the process behaves."""
