"""Many studies, stoppable at any moment."""
