"""Who calls, what they may, and how much of it. Knows neither gRPC nor the database."""
