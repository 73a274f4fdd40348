"""The HTTP side: the application, stored files, the pages and the OpenAPI document."""
