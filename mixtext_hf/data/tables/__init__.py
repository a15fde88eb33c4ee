"""From files, folders and the Hub to rows as they were written: delimited text, JSON, parquet, columns, splits."""
