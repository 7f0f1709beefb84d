"""Values into pictures and pages."""
