"""The event stream and the caches: looks at the database that many callers share."""
