"""A gallery as a service: an HTTP API, a page, and a client for both. Needs the extra ``serve``, except the client."""
