"""Web archives: WARC, WET and ARC, record by record, also where they are broken."""
