"""The driver: plans the work, finds or makes units, keeps the books, resumes, collects."""
