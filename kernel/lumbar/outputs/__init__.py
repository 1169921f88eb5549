"""What leaves the program: submission, tables, findings, structured reports, pages."""
